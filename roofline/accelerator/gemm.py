"""Cycles of one matrix product on an accelerator of :mod:`hw.accelerator`.

Where results stay in the PEs, a tile of ``rows`` output channels and ``columns`` tokens takes
``ceil(inputs / lanes)`` steps of as many cycles as the weights' bits need; its results shift out
while the next tile is computed. Where weights stay, a tile has ``rows x lanes`` inputs and
``columns`` output channels, and tokens stream through it; where inputs stay, it has ``columns``
tokens, and output channels stream. Such a tile is loaded while the one before streams, as in
:class:`roofline.accelerator.systolic.Timing` ``double-buffered``, and its partial sums wait in the
buffer for outputs, or in half of the input buffer where there is none. The streams whose partial
sums fit there pass through all tiles of a sum; the next streams load the tiles again.

Operand buffers are double buffers: one half holds a tile's operands while memory fills the other.
Where neither operand fits, one of them is read again for each half buffer of the other, or inputs
are read once for each block of output channels whose partial sums fit in half of the output buffer,
whichever reads least. Memory and array work at the same time after the first fill; the time is that
of the slower. This is an approximation without bank conflicts and DRAM refresh.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from hw.accelerator import Accelerator
from hw.sram import access_energy_pj_per_byte
from roofline.accelerator.systolic import ceil_div

Phase = Literal["prefill", "decode"]
RESULT_BITS = 16
#: Bits of a partial sum.
SUM_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """``count`` matrix products of (tokens, inputs) and (inputs, outputs)."""

    name: str
    tokens: int
    inputs: int
    outputs: int
    #: Bits of a weight's code, and of its share of the group's scale and selector.
    weight_bits: float
    side_bits: float = 0.0
    #: Values that share a scale; None for a whole row.
    group: int | None = None
    count: int = 1
    #: Whether a processor beside the array computes it, because its codes are not those of the PEs.
    on_host: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "inputs", "outputs", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of {self.name!r} is {getattr(self, name)}, less than 1")

    @property
    def macs(self) -> int:
        """Useful MACs of all matrix products."""
        return self.tokens * self.inputs * self.outputs * self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmCost:
    """Cycles, traffic and energy of all matrix products of one :class:`Gemm`."""

    cycles: int
    #: Lower bound of the cycles: every PE busy in every cycle, or weights at full bandwidth.
    bound_cycles: float
    compute_cycles: int
    dram_cycles: int
    traffic_bytes: int
    #: Useful MACs over the MACs of an array that is busy in every cycle at these bits.
    utilization: float
    pe_energy_pj: float
    #: Energy of both operand buffers: every tile reads its operands, memory writes them once.
    buffer_energy_pj: float
    dram_energy_pj: float

    @property
    def limiter(self) -> str:
        """The longer time: ``compute`` or ``memory``."""
        return "memory" if self.dram_cycles > self.compute_cycles else "compute"


def gemm_cost(gemm: Gemm, machine: Accelerator, phase: Phase) -> GemmCost:
    """Return cycles and energy of ``gemm``; all PEs take energy while the array works.

    Examples
    --------
    A step of BitMoD's PEs takes four values in two cycles: 64 tiles of 2048, 78 to fill and 64 to
    drain the array of 64 x 16.

    >>> from hw.accelerator import load_accelerator
    >>> gemm = Gemm(name="q", tokens=1, inputs=4096, outputs=4096, weight_bits=3)
    >>> gemm_cost(gemm, load_accelerator("bitmod"), "decode").compute_cycles
    131214
    """
    rows, columns = array_shape(machine, phase)
    compute = gemm.count * _compute_cycles(gemm, machine, rows=rows, columns=columns)
    traffic, first = _traffic_bytes(gemm, machine, rows=rows, columns=columns)
    traffic *= gemm.count
    dram = ceil_div(8 * traffic, machine.dram_bits_per_cycle)
    cycles = max(compute, dram) + ceil_div(8 * first, machine.dram_bits_per_cycle)
    step = machine.cycles_per_step(gemm.weight_bits)
    peak_macs = rows * columns * machine.lanes * cycles / step
    weights = gemm.inputs * gemm.outputs * gemm.count
    ideal = gemm.macs * step / (rows * columns * machine.lanes)
    essential = weights * (gemm.weight_bits + gemm.side_bits) / machine.dram_bits_per_cycle
    return GemmCost(
        cycles=cycles,
        bound_cycles=max(ideal, essential),
        compute_cycles=compute,
        dram_cycles=dram,
        traffic_bytes=traffic,
        utilization=gemm.macs / peak_macs,
        pe_energy_pj=machine.pe_energy_pj_per_cycle * rows * columns * compute,
        buffer_energy_pj=_buffer_energy_pj(gemm, machine, traffic, rows=rows, columns=columns),
        dram_energy_pj=machine.dram_energy.energy_pj(traffic)[1],
    )


def _buffer_energy_pj(
    gemm: Gemm, machine: Accelerator, traffic_bytes: int, *, rows: int, columns: int
) -> float:
    """Return the energy of the buffers, by the law of :mod:`hw.sram`."""
    tiles = _tiles(gemm, machine, rows=rows, columns=columns)
    weights = gemm.inputs * (gemm.weight_bits + gemm.side_bits) / 8 * gemm.outputs * gemm.count
    inputs = gemm.inputs * machine.activation_bits / 8 * gemm.tokens * gemm.count
    # Every tile of a sum except the first reads the partial sums that the tile before wrote.
    sums = 2 * SUM_BYTES * gemm.outputs * gemm.tokens * gemm.count * (tiles.of_sum - 1)
    node = machine.technology_nm
    of_weights = access_energy_pj_per_byte(machine.weight_buffer_bytes, node)
    of_inputs = access_energy_pj_per_byte(machine.activation_buffer_bytes, node)
    sums_size = machine.output_buffer_bytes or machine.activation_buffer_bytes
    reads = weights * tiles.weight_reads * of_weights + inputs * tiles.input_reads * of_inputs
    reads += sums * access_energy_pj_per_byte(sums_size, node)
    return reads + traffic_bytes * max(of_weights, of_inputs)


def array_shape(machine: Accelerator, phase: Phase) -> tuple[int, int]:
    """Return the number of PEs along rows and along columns in a phase."""
    if phase == "prefill":
        return machine.prefill_rows, machine.prefill_columns
    return machine.decode_rows, machine.decode_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiles:
    """Tiling of a GEMM for an array."""

    count: int
    #: Steps of one tile, each of ``lanes`` values.
    steps: int
    #: Tiles whose partial sums add up to one result.
    of_sum: int
    #: Times that each weight and each input is read from its buffer.
    weight_reads: int
    input_reads: int
    #: Values of weights and of inputs that the first tile needs.
    first_weights: int
    first_inputs: int


def _tiles(gemm: Gemm, machine: Accelerator, *, rows: int, columns: int) -> _Tiles:
    tokens, inputs, outputs = gemm.tokens, gemm.inputs, gemm.outputs
    if machine.dataflow == "output":
        of_outputs, of_tokens = ceil_div(outputs, rows), ceil_div(tokens, columns)
        return _Tiles(
            count=of_outputs * of_tokens,
            steps=ceil_div(inputs, machine.lanes),
            of_sum=1,
            weight_reads=of_tokens,
            input_reads=of_outputs,
            first_weights=inputs * min(rows, outputs),
            first_inputs=inputs * min(columns, tokens),
        )
    held, streamed = (outputs, tokens) if machine.dataflow == "weight" else (tokens, outputs)
    across = ceil_div(held, columns)
    of_sum = ceil_div(inputs, rows * machine.lanes)
    passes = 1
    if of_sum > 1:
        room = machine.output_buffer_bytes or machine.activation_buffer_bytes // 2
        passes = ceil_div(streamed, max(1, room // (SUM_BYTES * min(columns, held))))
    height = min(rows * machine.lanes, inputs)
    first_held, first_streamed = height * min(columns, held), height
    is_weight = machine.dataflow == "weight"
    return _Tiles(
        count=of_sum * across * passes,
        steps=ceil_div(streamed, passes),
        of_sum=of_sum,
        weight_reads=passes if is_weight else across,
        input_reads=across if is_weight else passes,
        first_weights=first_held if is_weight else first_streamed,
        first_inputs=first_streamed if is_weight else first_held,
    )


def _compute_cycles(gemm: Gemm, machine: Accelerator, *, rows: int, columns: int) -> int:
    tiles = _tiles(gemm, machine, rows=rows, columns=columns)
    of_step = machine.cycles_per_step(gemm.weight_bits)
    of_tile = tiles.steps * of_step
    scaling = machine.dequantize_cycles if gemm.group else 0
    fill = rows + columns - 2
    if machine.dataflow != "output":
        # Partial sums are scaled one after another as they leave the array.
        return rows + (tiles.count - 1) * max(of_tile, rows) + of_tile + fill + scaling
    length = gemm.group or gemm.inputs
    groups = ceil_div(gemm.inputs, length)
    of_group = ceil_div(length, machine.lanes) * of_step
    # A group is scaled while the next is summed; only longer scaling takes extra cycles.
    stalls = (groups - 1) * max(0, scaling - of_group)
    return tiles.count * max(of_tile + stalls, rows) + scaling + fill + rows


def _traffic_bytes(gemm: Gemm, machine: Accelerator, *, rows: int, columns: int) -> tuple[int, int]:
    """Return the DRAM traffic of one GEMM, and its bytes that must be loaded before it starts."""
    bits = gemm.weight_bits + gemm.side_bits
    weight_row = ceil(gemm.inputs * bits / 8)
    input_row = ceil_div(gemm.inputs * machine.activation_bits, 8)
    weight, inputs = weight_row * gemm.outputs, input_row * gemm.tokens
    tiles = _tiles(gemm, machine, rows=rows, columns=columns)
    reads = _read_bytes(gemm, machine, weight, inputs, is_one_tile=tiles.count == 1)
    first = ceil(tiles.first_weights * bits / 8)
    first += ceil_div(tiles.first_inputs * machine.activation_bits, 8)
    results = ceil_div(gemm.outputs * gemm.tokens * RESULT_BITS, 8)
    return reads + results, min(
        first, (machine.weight_buffer_bytes + machine.activation_buffer_bytes) // 2
    )


def _read_bytes(
    gemm: Gemm, machine: Accelerator, weight: int, inputs: int, *, is_one_tile: bool
) -> int:
    """Return the bytes read from DRAM for both operands, repeated reads included."""
    half_weight, half_inputs = (
        machine.weight_buffer_bytes // 2,
        machine.activation_buffer_bytes // 2,
    )
    if weight <= half_weight or inputs <= half_inputs or is_one_tile:
        return weight + inputs
    ways = [
        weight * ceil_div(inputs, half_inputs) + inputs,
        weight + inputs * ceil_div(weight, half_weight),
    ]
    outputs_held = machine.output_buffer_bytes // 2 // (SUM_BYTES * gemm.tokens)
    if outputs_held:
        ways.append(weight + inputs * ceil_div(gemm.outputs, outputs_held))
    return min(ways)
