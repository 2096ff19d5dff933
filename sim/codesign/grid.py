"""The hardware of a grid, evaluated for one pair of formats and PE at a time in bounded blocks.

A block has one array axis for each axis of the grid: rows, columns, weight buffers, memories,
clocks. Amounts that depend on some axes only stay as small as those.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from hw.dram import DRAM
from hw.fpga import Fpga
from hw.pe_record import PeRecord
from hw.sram import EXPONENT, access_energy_pj_per_byte
from roofline.accelerator.stream import (
    Geometry,
    drains_in_time,
    least_fifo_bytes,
    row_beats,
    schedule,
    tile_bytes,
)
from roofline.accelerator.stream_energy import EnergyRates, product_energy
from sim.codesign import fpga_parts, parts
from sim.codesign.pairs import Pair
from sim.codesign.workload import Workload

#: Designs of a block, at most: its arrays stay in the caches.
BLOCK = 16_384
#: Values over rows, columns, weight buffers, memories and clocks; an axis that does not matter has
#: length 1.
Array = Float64[np.ndarray, "_ _ _ _ _"]
AXES = ("rows", "columns", "weight_buffers_kib", "memories", "clocks_mhz")
#: Places of the axes.
ROWS, COLUMNS, BUFFERS, MEMORIES, CLOCKS = range(5)
#: Shape of an amount that depends on no axis.
NO_AXES = (1, 1, 1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory of a machine: its kind and its bandwidth."""

    kind: str
    gb_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The values of every axis."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    memories: tuple[Memory, ...]
    clocks_mhz: tuple[float, ...]
    #: Buffers of weights in KiB, each beside one of activations of its size, so that the tokens of
    #: a prompt share a tile; 0 for a FIFO that hides the memory's latency.
    weight_buffers_kib: tuple[int, ...] = (0,)
    #: FPGA of all machines; ``None`` for a chip.
    fpga: Fpga | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(getattr(self, name)) for name in AXES)

    @property
    def size(self) -> int:
        """Number of machines."""
        return int(np.prod(self.shape))

    def blocks(self, most: int = BLOCK) -> Iterator[tuple[int, "Grid"]]:
        """Yield parts of the grid with at most ``most`` machines, and the number of the first.

        Machines are numbered with the clocks fastest. Only the first axis longer than one is cut
        where the others fit, so parts are contiguous.
        """
        for axis, name in enumerate(AXES):
            rest = int(np.prod(self.shape[axis + 1 :]))
            if self.shape[axis] == 1:
                continue
            step = max(1, most // rest) if rest <= most else 1
            values = getattr(self, name)
            for start in range(0, len(values), step):
                part = replace(self, **{name: values[start : start + step]})
                for first, block in part.blocks(most) if rest > most else [(0, part)]:
                    yield start * rest + first, block
            return
        yield 0, self

    def machine(self, number: int) -> "Grid":
        """Return the grid of the machine with a number."""
        places = np.unravel_index(number, self.shape)
        values: dict[str, Any] = {
            name: (getattr(self, name)[int(place)],)
            for name, place in zip(AXES, places, strict=True)
        }
        return replace(self, **values)

    @property
    def area_unit(self) -> str:
        """Unit of areas: mm2 of a chip, or 1000 look-up tables of an FPGA."""
        return "kLUT" if self.fpga else "mm2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Designs:
    """All machines of a block with one pair."""

    time_s: Array
    #: mm2 of a chip, or 1000 look-up tables of an FPGA.
    area: Array
    #: J of a token; 0 on an FPGA, whose energy is unknown.
    energy_j: Array
    #: Whether the clock is one that the PE reaches, and results leave in time.
    is_valid: Bool[np.ndarray, "_ _ _ _ _"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the parts of machines; each broadcasts over the axes."""

    geometry: Geometry
    bus_bits: Array
    weight_bytes: Array
    input_bytes: Array
    output_bytes: Array
    scalers: Array


def sizes(grid: Grid, pair: Pair, work: Workload) -> Sizes:
    """Return the sizes that follow from the axes: buffers just large enough, scalers just enough.

    The bus is the narrowest that carries the memory's bandwidth.
    """
    rows, columns = _axis(grid.rows, ROWS), _axis(grid.columns, COLUMNS)
    buffers = 1024 * _axis(grid.weight_buffers_kib, BUFFERS)
    clock_hz = _axis(grid.clocks_mhz, CLOCKS) * 1e6
    peak = _axis([memory.gb_per_s for memory in grid.memories], MEMORIES) * 1e9 / clock_hz
    record = pair.record
    geometry = Geometry(
        rows=rows,
        columns=columns,
        lanes=record.lanes,
        beat_cycles=record.cycles_per_beat,
        bytes_per_cycle=peak * parts.MEMORY_EFFICIENCY,
    )
    bits = work.products[0][0].activation_bits
    inputs = parts.power_of_two(columns * ceil(work.most_inputs * bits / 8))
    return Sizes(
        geometry=geometry,
        bus_bits=parts.bus_bits(peak),
        weight_bytes=np.maximum(least_fifo_bytes(geometry), buffers),
        input_bytes=np.maximum(inputs, buffers),
        output_bytes=2 * 4 * rows * columns,
        scalers=_scalers(pair, work, geometry, clock_hz, grid.fpga),
    )


def _scalers(
    pair: Pair, work: Workload, geometry: Geometry, clock_hz: Array, fpga: Fpga | None
) -> Array:
    """Return the scalers that keep up with the sums of groups of all PEs."""
    scaler = pair.scaler
    if scaler is None:
        return np.zeros(NO_AXES)
    product = min((p for p, _ in work.products), key=lambda p: int(p.inputs))
    length = int(product.group) or int(product.inputs)
    between = row_beats(length, 0, geometry.lanes) * geometry.beat_cycles
    of_sum = scaler.cycles_per_beat * np.ceil(clock_hz / (1e6 * fastest_mhz(scaler, fpga)))
    return np.asarray(np.ceil(geometry.rows * geometry.columns * of_sum / between))


def evaluate(grid: Grid, pair: Pair, work: Workload, *, energy: str = "nominal") -> Designs:
    """Return time, area and energy of one token on every machine of a block.

    ``energy`` is ``low``, ``nominal`` or ``high``, for PEs and memory alike.
    """
    found = sizes(grid, pair, work)
    geometry = found.geometry
    rates, leak_w = _rates(grid, pair, found, energy)
    clock_hz = _axis(grid.clocks_mhz, CLOCKS) * 1e6
    cycles = sum(np.ceil(count / geometry.bytes_per_cycle) for count in work.host_bytes)
    pj = sum(work.host_bytes) * rates.dram_pj_per_byte
    is_valid = _axis(grid.clocks_mhz, CLOCKS) <= fastest_mhz(pair.record, grid.fpga)
    for product, count in work.products:
        planned = schedule(product, geometry)
        spent = product_energy(product, geometry, planned, rates)
        cycles = cycles + count * planned.cycles
        pj = pj + count * (spent.pes_pj + spent.buffers_pj + spent.dram_pj)
        is_valid = is_valid & drains_in_time(product, geometry)
    time_s = cycles / clock_hz
    joules = np.zeros(NO_AXES) if grid.fpga else pj * 1e-12 + leak_w * time_s
    if grid.fpga is not None:
        is_valid = is_valid & fits(pair, found, grid.fpga)
    return Designs(
        time_s=np.broadcast_to(time_s, grid.shape),
        area=np.broadcast_to(sum(areas(pair, found, grid.fpga).values()), grid.shape),
        energy_j=np.broadcast_to(joules, grid.shape),
        is_valid=np.broadcast_to(is_valid, grid.shape),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """A prompt on all machines of a block."""

    #: Seconds from the first request to the last token's head.
    time_s: Array
    #: Whether results of all columns leave in time.
    is_valid: Bool[np.ndarray, "_ _ _ _ _"]


def evaluate_prompt(grid: Grid, pair: Pair, token: Workload, prompt: Workload) -> Prompts:
    """Return the time of a prompt on every machine of a block, which is sized for a token.

    The tokens that the activation buffer holds share a tile of weights where the weight buffer
    holds two.
    """
    found = sizes(grid, pair, token)
    geometry = found.geometry
    cycles = sum(np.ceil(count / geometry.bytes_per_cycle) for count in prompt.host_bytes)
    is_valid = np.ones(NO_AXES, bool)
    for product, count in prompt.products:
        of_token = ceil(product.inputs * product.activation_bits / 8)
        planned = schedule(
            product,
            geometry,
            holds_tile=found.weight_bytes >= 2 * tile_bytes(product, geometry, geometry.rows),
            tokens_held=found.input_bytes // of_token,
        )
        cycles = cycles + count * planned.cycles
        is_valid = is_valid & drains_in_time(product, geometry)
    return Prompts(
        time_s=np.broadcast_to(cycles / (_axis(grid.clocks_mhz, CLOCKS) * 1e6), grid.shape),
        is_valid=np.broadcast_to(is_valid, grid.shape),
    )


def fastest_mhz(record: PeRecord, fpga: Fpga | None) -> float:
    """Return the fastest clock of a PE on a chip or an FPGA; 0 where it was not placed."""
    if fpga is None:
        return parts.fastest_mhz(record.delay_ps or 0.0)
    return fpga_parts.fastest_mhz(record, fpga)


def fits(pair: Pair, found: Sizes, fpga: Fpga) -> Bool[np.ndarray, "_ _ _ _ _"]:
    """Return whether machines fit an FPGA: look-up tables, DSP blocks and block RAM."""
    pes = found.geometry.rows * found.geometry.columns
    luts = 1000 * sum(areas(pair, found, fpga).values())
    ram = found.weight_bytes + found.input_bytes + found.output_bytes
    dsps = fpga_parts.dsps(pair.record, pes, fpga)
    return np.asarray((luts <= fpga.luts) & (dsps <= fpga.dsps) & (ram <= fpga.ram_bytes))


def areas(pair: Pair, found: Sizes, fpga: Fpga | None = None) -> dict[str, Array]:
    """Return the area of every part of the machines, in mm2 or 1000 look-up tables."""
    if fpga is not None:
        pes = found.geometry.rows * found.geometry.columns
        scalers = pair.scaler
        return {
            "PEs": fpga_parts.luts(pair.record, pes, fpga) / 1000,
            "group scalers": fpga_parts.luts(scalers, found.scalers, fpga) / 1000
            if scalers
            else np.zeros(NO_AXES),
            "controller": np.full(NO_AXES, fpga_parts.CONTROLLER_LUTS / 1000),
            "memory controller": np.full(NO_AXES, fpga_parts.DRAM_LUTS / 1000),
            "memory interface": found.bus_bits * fpga_parts.INTERFACE_LUTS_PER_BIT / 1000,
        }
    return {name: um2 / 1e6 for name, um2 in _areas_um2(pair, found).items()}


def _areas_um2(pair: Pair, found: Sizes) -> dict[str, Array]:
    """Return the area of every part of the chips."""
    scaler = pair.scaler.area_um2 if pair.scaler else 0.0
    geometry = found.geometry
    return {
        "PEs": geometry.rows * geometry.columns * pair.record.area_um2,
        "group scalers": found.scalers * scaler,
        "weight buffer": parts.buffer_um2(found.weight_bytes),
        "activation buffer": parts.buffer_um2(found.input_bytes),
        "output buffer": parts.buffer_um2(found.output_bytes),
        "controller": np.full(NO_AXES, parts.controller_um2()),
        "memory interface": parts.interface_um2(found.bus_bits),
    }


def _rates(grid: Grid, pair: Pair, found: Sizes, energy: str) -> tuple[EnergyRates, Array]:
    """Return the energies of the parts, and the leakage of all PEs in W."""
    record = pair.record
    scaler, scaler_pj = pair.scaler, 0.0
    if scaler is not None:
        scaler_pj = getattr(scaler.energy, f"{energy}_pj") * scaler.cycles_per_beat
    dram = [8 * getattr(DRAM[memory.kind], f"{energy}_pj_per_bit") for memory in grid.memories]
    rates = EnergyRates(
        pe_pj=getattr(record.energy, f"{energy}_pj"),
        idle_pj=record.energy.idle_pj,
        scaler_pj=scaler_pj,
        weights_pj_per_byte=_access_pj(found.weight_bytes),
        activations_pj_per_byte=_access_pj(found.input_bytes),
        dram_pj_per_byte=_axis(dram, MEMORIES),
    )
    pes = found.geometry.rows * found.geometry.columns
    return rates, pes * (record.leakage_uw or 0.0) * 1e-6


def _access_pj(size_bytes: Array) -> Array:
    """Return the energy of a byte by the law of :mod:`hw.sram`, for arrays of sizes."""
    return access_energy_pj_per_byte(1.0) * size_bytes**EXPONENT


def _axis(values: object, axis: int) -> Array:
    """Return values along one of the axes."""
    shape = list(NO_AXES)
    shape[axis] = -1
    return np.asarray(values, np.float64).reshape(shape)
