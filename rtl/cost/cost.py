"""Area, delay and energy of a PE's netlist, which is checked against the golden model."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hw.pe_record import PeRecord
from rtl.beats import pack_beats
from rtl.cost.cells import LIBERTY
from rtl.cost.gates import Gates, read_gates
from rtl.cost.library import read_library
from rtl.cost.macros import memory_cost
from rtl.cost.synthesis import liberty_hash, synthesize
from rtl.cost.toggles import energy, run
from rtl.cost.verilog_hash import verilog_hash
from rtl.element import ProcessingElement
from rtl.fields import SPREAD, Operands
from rtl.toolchain import ToolError

#: Number of groups simulated in parallel, and the largest number of beats of all groups together
#: (PEs with long groups run fewer of them).
STREAMS, MOST_BEATS = 256, 32_768
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Operands for energy, and their description in a record."""

    operands: Operands
    source: str


def gaussian_stream(pe: ProcessingElement) -> Stream:
    """Return Gaussian operands, on which energy is measured by default."""
    _, beats, _ = next(iter(pe.typical(1, seed=SEED).values())).shape
    groups = min(STREAMS, MOST_BEATS // beats)
    own = pe.field(pe.weight_field).spread
    of_weights = "" if own == SPREAD else f", of weights {own:.3g}"
    return Stream(
        operands=pe.typical(groups, seed=SEED),
        source=f"Gaussian, standard deviation {SPREAD:.3g} of the largest value{of_weights},"
        f" seed {SEED}, {groups} groups of {beats} beats",
    )


def cost(
    pe: ProcessingElement, liberty: Path = LIBERTY, *, stream: Stream | None = None
) -> PeRecord:
    """Synthesize a PE, run operands through its netlist, and return what it costs.

    Operands are Gaussian if ``stream`` is ``None``. Delay and energy are ``None`` where the library
    lacks the delays or energies of a cell.

    Raises
    ------
    ToolError
        A tool fails, or the netlist computes something else than the golden model.
    """
    library = read_library(liberty)
    if not any(cell.is_flip_flop for cell in library.cells.values()):
        raise ToolError(f"{liberty} has no flip-flop, which PEs need")
    netlist = synthesize(pe, liberty)
    gates = read_gates(netlist, library)
    stream = stream or gaussian_stream(pe)
    memories = tuple(memory_cost(ram.name, ram.words, ram.bits) for ram in gates.rams)
    of_beat = sum(memory.energy_fj for memory in memories)
    found = _energies(pe, gates, stream.operands, of_memories_fj=of_beat / pe.cycles)
    return PeRecord(
        name=pe.name,
        weights=pe.weight_name,
        activations=pe.activation_name,
        lanes=pe.lanes,
        cycles_per_beat=pe.cycles,
        accumulator_bits=getattr(pe, "sum_bits", pe.result_shape.width),
        result_bits=pe.result_shape.width,
        area_um2=round(netlist.area_um2 + sum(memory.area_um2 for memory in memories), 3),
        recipe=netlist.recipe,
        cells=sum(netlist.cells.values()),
        delay_ps=gates.longest_path_ps,
        library=liberty.stem,
        operands=stream.source,
        verilog_sha256=verilog_hash(pe),
        liberty_sha256=liberty_hash(liberty),
        netlist_sha256=netlist.sha256,
        versions={name: version(name) for name in ("amaranth", "pyosys", "numpy")}
        | {"python": platform.python_version()},
        memories=memories,
        fpga=(),
        **found,
    )


def _energies(
    pe: ProcessingElement, gates: Gates, operands: Operands, *, of_memories_fj: float
) -> dict[str, float | None]:
    """Return the energies per MAC; ``of_memories_fj`` (per cycle) is added to that of the logic."""
    activity = run(gates, simulated_inputs(pe, gates, operands))
    mask = (1 << pe.result_shape.width) - 1
    expected = [int(value) & mask for value in pe.golden(operands)]
    found = _numbers(activity.outputs["result__payload"])
    if found != expected:
        raise ToolError(f"the netlist of {pe.name} computes {found[0]}, not {expected[0]}")
    spent = energy(gates, activity)
    if spent is None:
        return {}
    macs, fixed = pe.lanes / pe.cycles, spent.clock_fj + of_memories_fj
    timed = spent.logic_gate_delay_fj
    return {
        "energy_no_delay_fj_per_mac": (spent.logic_no_delay_fj + fixed) / macs,
        "energy_gate_delay_fj_per_mac": None if timed is None else (timed + fixed) / macs,
        "energy_unit_delay_fj_per_mac": (spent.logic_unit_delay_fj + fixed) / macs,
        "clock_fj_per_mac": spent.clock_fj / macs,
        "leakage_uw": spent.leakage_uw,
    }


def simulated_inputs(
    pe: ProcessingElement, gates: Gates, operands: Operands
) -> list[dict[str, np.ndarray]]:
    """Return the bits of every port, shape (bit, group), in every cycle of a run of all beats."""
    words = pack_beats(pe.operand_layout, operands)
    groups = len(next(iter(operands.values())))
    beats = _bits_of(words, len(gates.ports["operands__payload"]), groups)
    return _inputs(np.repeat(beats, pe.cycles, axis=0), pe.latency)


def _bits_of(words: np.ndarray, width: int, groups: int) -> np.ndarray:
    """Return the bits of every beat, shape (beat, bit, group)."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :width].astype(bool)
    return bits.reshape(groups, -1, width).transpose(1, 2, 0)


def _numbers(bits: np.ndarray) -> list[int]:
    """Return bits, shape (bit, stream), as unsigned integers of any size."""
    values = np.where(bits, 2 ** np.arange(len(bits), dtype=object)[:, None], 0)
    return [int(value) for value in values.sum(axis=0)]


def _inputs(beats: np.ndarray, latency: int) -> list[dict[str, np.ndarray]]:
    """Return the inputs of every cycle: a reset, every beat, and the latency of the last result."""
    groups = beats.shape[2]
    high, low = np.ones((1, groups), bool), np.zeros((1, groups), bool)
    idle = {
        "operands__payload": np.zeros(beats.shape[1:], bool),
        "operands__valid": low,
        "result__ready": high,
        "rst": low,
    }
    steps = [{**idle, "operands__payload": beat, "operands__valid": high} for beat in beats]
    waiting = [{**idle, "result__ready": low}] * latency
    return [{**idle, "rst": high}, {**idle, "rst": high}, *steps, *waiting]
