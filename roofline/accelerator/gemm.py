"""Cycles of one matrix product on an accelerator of :mod:`hw.accelerator`.

Results stay in the PEs. A tile of ``rows`` output channels and ``columns`` tokens takes
``ceil(inputs / lanes)`` steps of as many cycles as the weights' bits need; its results shift out
while the next tile is computed. Both buffers are doubled, so that half of each holds a tile's
operands while memory fills the other half; where neither operand fits, one of them is read again
for each half buffer of the other, or inputs once for each block of output channels whose partial
sums fit in half of the output buffer, whichever is least. Memory and array work at the
same time after the first fill, and the slower of them decides. This is an approximation: conflicts
of banks and refresh of memory are not modelled.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from hw.accelerator import Accelerator
from hw.sram import access_energy_pj_per_byte
from roofline.systolic import ceil_div

Phase = Literal["prefill", "decode"]
RESULT_BITS = 16
#: Partial sums have 32 bits.
SUM_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """``count`` products of (tokens, inputs) and (inputs, outputs)."""

    name: str
    tokens: int
    inputs: int
    outputs: int
    #: Bits of a weight's code, and of its share of scales and selectors.
    weight_bits: float
    side_bits: float = 0.0
    #: Values that share a scale; all of a row if none.
    group: int | None = None
    count: int = 1

    def __post_init__(self) -> None:
        for name in ("tokens", "inputs", "outputs", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of {self.name!r} is {getattr(self, name)}, less than 1")

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates."""
        return self.tokens * self.inputs * self.outputs * self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmCost:
    """What the products of one :class:`Gemm` take together."""

    cycles: int
    #: With every PE busy in every cycle, or all weights at the memory's full speed; no less.
    bound_cycles: float
    compute_cycles: int
    dram_cycles: int
    traffic_bytes: int
    #: Useful MACs over those of an array busy in every cycle at this number of bits.
    utilization: float
    pe_energy_pj: float
    #: Of both operands' buffers: every tile reads its operands, memory fills them once.
    buffer_energy_pj: float
    dram_energy_pj: float

    @property
    def limiter(self) -> str:
        """What decides."""
        return "memory" if self.dram_cycles > self.compute_cycles else "compute"


def gemm_cost(gemm: Gemm, machine: Accelerator, phase: Phase) -> GemmCost:
    """Return cycles and energy of ``gemm``; all PEs are charged while the array works.

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
    """Return the energy of both buffers, by the law of :mod:`hw.sram`."""
    weight_row = gemm.inputs * (gemm.weight_bits + gemm.side_bits) / 8
    input_row = gemm.inputs * machine.activation_bits / 8
    # Each tile of tokens reads all weights, and each of outputs all inputs.
    weights = weight_row * gemm.outputs * ceil_div(gemm.tokens, columns) * gemm.count
    inputs = input_row * gemm.tokens * ceil_div(gemm.outputs, rows) * gemm.count
    node = machine.technology_nm
    of_weights = access_energy_pj_per_byte(machine.weight_buffer_bytes, node)
    of_inputs = access_energy_pj_per_byte(machine.activation_buffer_bytes, node)
    return weights * of_weights + inputs * of_inputs + traffic_bytes * max(of_weights, of_inputs)


def array_shape(machine: Accelerator, phase: Phase) -> tuple[int, int]:
    """Return the PEs along output channels and along tokens."""
    if phase == "prefill":
        return machine.prefill_rows, machine.prefill_columns
    return machine.decode_rows, machine.decode_columns


def _compute_cycles(gemm: Gemm, machine: Accelerator, *, rows: int, columns: int) -> int:
    tiles = ceil_div(gemm.outputs, rows) * ceil_div(gemm.tokens, columns)
    length = gemm.group or gemm.inputs
    groups = ceil_div(gemm.inputs, length)
    of_group = ceil_div(length, machine.lanes) * machine.cycles_per_step(gemm.weight_bits)
    of_row = ceil_div(gemm.inputs, machine.lanes) * machine.cycles_per_step(gemm.weight_bits)
    scaling = machine.dequantize_cycles if gemm.group else 0
    # A group is scaled while the next is summed; only where scaling takes longer does it cost.
    stalls = (groups - 1) * max(0, scaling - of_group)
    fill = rows + columns - 2
    return tiles * max(of_row + stalls, rows) + scaling + fill + rows


def _traffic_bytes(gemm: Gemm, machine: Accelerator, *, rows: int, columns: int) -> tuple[int, int]:
    """Return the bytes of one product, and those that must come before it can start."""
    bits = gemm.weight_bits + gemm.side_bits
    weight_row = ceil(gemm.inputs * bits / 8)
    input_row = ceil_div(gemm.inputs * machine.activation_bits, 8)
    weight, inputs = weight_row * gemm.outputs, input_row * gemm.tokens
    reads = _read_bytes(
        gemm, machine, weight, inputs, is_one_tile=gemm.outputs <= rows and gemm.tokens <= columns
    )
    first = weight_row * min(rows, gemm.outputs) + input_row * min(columns, gemm.tokens)
    results = ceil_div(gemm.outputs * gemm.tokens * RESULT_BITS, 8)
    return reads + results, min(
        first, (machine.weight_buffer_bytes + machine.activation_buffer_bytes) // 2
    )


def _read_bytes(
    gemm: Gemm, machine: Accelerator, weight: int, inputs: int, *, is_one_tile: bool
) -> int:
    """Return the bytes of both operands that are read, with those read again."""
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
