"""What a PE costs: area, delay and energy of its own netlist, checked against the golden model."""

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hw.pe_record import PeRecord
from numerics.formats import Format
from numerics.pe.exact_dot import exact_dots, integer_table
from rtl.catalog import ProcessingElement
from rtl.cells import LIBERTY
from rtl.compiled import pack_beats
from rtl.gates import Gates, read_gates
from rtl.synthesis import synthesize, verilog_hash
from rtl.toggles import energy, run
from rtl.toolchain import ToolError

STREAMS = 256
BEATS = 40
#: Standard deviation of operands over the largest value of their format.
SPREAD = 1 / 3.5
SEED = 0


def cost(pe: ProcessingElement, liberty: Path = LIBERTY) -> PeRecord:
    """Synthesize a PE, run operands through its netlist, and return what it costs.

    With another library than the project's own only area is known.

    Raises
    ------
    ToolError
        A tool fails, or the netlist computes something else than the golden model.
    """
    netlist = synthesize(pe, liberty)
    own = liberty.resolve() == LIBERTY
    gates = read_gates(netlist) if own else None
    found = _energies(pe, gates) if gates else {}
    return PeRecord(
        name=pe.name,
        weights=pe.weights.name,
        activations=pe.activations.name,
        lanes=pe.lanes,
        cycles_per_beat=pe.cycles,
        accumulator_bits=pe.sum_bits,
        area_um2=round(netlist.area_um2, 3),
        recipe=netlist.recipe,
        cells=sum(netlist.cells.values()),
        delay_ps=gates.longest_path_ps if gates else None,
        library=liberty.stem,
        operands=f"Gaussian, standard deviation {SPREAD:.3g} of the largest value, seed {SEED},"
        f" {STREAMS} groups of {BEATS} beats",
        verilog_sha256=verilog_hash(pe),
        versions={name: version(name) for name in ("amaranth", "pyosys", "numpy")}
        | {"python": platform.python_version()},
        **found,
    )


def _energies(pe: ProcessingElement, gates: Gates) -> dict[str, float]:
    weights, activations = operands(pe)
    beats = _bits_of(pack_beats(pe, weights, activations), len(gates.ports["operands__payload"]))
    activity = run(gates, _inputs(np.repeat(beats, pe.cycles, axis=0)))
    expected = exact_dots(pe.weights, pe.activations, weights, activations)
    bits = activity.outputs["result__payload"]
    found = np.where(bits, 2 ** np.arange(len(bits), dtype=np.int64)[:, None], 0)
    sums = found[:-1].sum(axis=0) - found[-1]
    if not np.array_equal(sums, expected):
        raise ToolError(f"the netlist of {pe.name} computes {sums[0]}, not {expected[0]}")
    spent = energy(gates, activity)
    macs = pe.lanes / pe.cycles
    return {
        "energy_no_delay_fj_per_mac": (spent.logic_no_delay_fj + spent.clock_fj) / macs,
        "energy_unit_delay_fj_per_mac": (spent.logic_unit_delay_fj + spent.clock_fj) / macs,
        "clock_fj_per_mac": spent.clock_fj / macs,
        "leakage_uw": spent.leakage_uw,
    }


def operands(pe: ProcessingElement) -> tuple[np.ndarray, np.ndarray]:
    """Return codes of Gaussian weights and activations, one group a stream."""
    random = np.random.default_rng(SEED)
    shape = (STREAMS, BEATS * pe.lanes)
    return _gaussian(pe.weights, random, shape), _gaussian(pe.activations, random, shape)


def _gaussian(fmt: Format, random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the codes nearest to Gaussian numbers, in units of the format."""
    table = np.array(integer_table(fmt))
    wanted = random.normal(0.0, SPREAD * abs(table).max(), shape)
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    return order[np.searchsorted(middles, wanted)]


def _bits_of(words: np.ndarray, width: int) -> np.ndarray:
    """Return the bits of every beat, shape (beat, bit, stream)."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :width].astype(bool)
    return bits.reshape(STREAMS, BEATS, width).transpose(1, 2, 0)


def _inputs(beats: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return a reset, every beat, and a cycle in which the last result stands."""
    high, low = np.ones((1, STREAMS), bool), np.zeros((1, STREAMS), bool)
    idle = {"operands__payload": np.zeros(beats.shape[1:], bool), "operands__valid": low,
            "result__ready": high, "rst": low}  # fmt: skip
    steps = [{**idle, "operands__payload": beat, "operands__valid": high} for beat in beats]
    return [{**idle, "rst": high}, {**idle, "rst": high}, *steps, {**idle, "result__ready": low}]
