"""Energy of a netlist on real operands: how often each net changes, times what a change costs.

Changes are counted with three gate delays. With zero delay a net changes at most once per cycle;
with unit delays every glitch propagates. The estimate between them has the delays of the cells,
which :mod:`rtl.cost.delays` propagates with inertial filtering. Wires have no capacitance, and the
clock tree is ideal.
"""

import math
from dataclasses import dataclass

import numpy as np

from rtl.cost.delays import Propagation
from rtl.cost.gates import Gates
from rtl.cost.packed import ones, pack, unpack
from rtl.toolchain import ToolError

#: Largest number of unit delays in a cycle until all nets must be stable.
MOST_STEPS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Femtojoules a cycle of one netlist on some operands."""

    logic_no_delay_fj: float
    logic_unit_delay_fj: float
    #: With the delays of the cells; ``None`` if the library lacks one.
    logic_gate_delay_fj: float | None
    clock_fj: float
    leakage_uw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Outcome of a run: results of every stream, and the number of changes of every net."""

    #: Values of each output port after the last cycle, one per stream.
    outputs: dict[str, np.ndarray]
    changes_no_delay: np.ndarray
    changes_unit_delay: np.ndarray
    #: With the delays of the cells; ``None`` if the library lacks one.
    changes_gate_delay: np.ndarray | None
    cycles: int


def run(
    gates: Gates, inputs: list[dict[str, np.ndarray]], timed: Propagation | None = None
) -> Activity:
    """Simulate a netlist; ``inputs`` has a mapping of port to bits (bit, stream) for each cycle.

    The first cycle is a reset; its changes are not counted. ``timed`` replaces the delays of the
    cells.
    """
    streams = next(iter(inputs[0].values())).shape[1]
    counted = pack(np.ones((1, streams), bool))
    nets = np.zeros((gates.nets, counted.shape[1]), np.uint64)
    nets[1] = np.invert(nets[1])
    counts = np.zeros((3, gates.nets))
    contents = [np.zeros((ram.words, ram.bits, streams), bool) for ram in gates.rams]
    if timed is None and gates.longest_path_ps is not None:
        timed = Propagation(gates)
    for cycle, ports in enumerate(inputs):
        before = nets.copy()
        for flops in gates.flip_flops:
            nets[flops.outputs] = flops.values(before) if cycle else 0
        for name, bits in ports.items():
            nets[gates.ports[name]] = pack(bits)
        _use_memories(gates, contents, before, nets, streams)
        at_edge = ones((nets ^ before) & counted)
        slow = nets.copy() if timed and cycle else nets
        unit = _settle(nets, gates, counted)
        if not cycle:
            continue
        counts[:2] += ones((nets ^ before) & counted), at_edge + unit
        if timed:
            counts[2] += at_edge + timed.settle(slow, counted)
            assert np.array_equal(slow, nets)
    return Activity(
        outputs={name: unpack(nets[places], streams) for name, places in gates.ports.items()},
        changes_no_delay=counts[0] / streams,
        changes_unit_delay=counts[1] / streams,
        changes_gate_delay=counts[2] / streams if timed else None,
        cycles=len(inputs) - 1,
    )


def _use_memories(
    gates: Gates, contents: list[np.ndarray], before: np.ndarray, nets: np.ndarray, streams: int
) -> None:
    """Write memories by the values of nets before the clock edge, and read by those after it."""
    if gates.rams:
        old, new = unpack(before, streams), unpack(nets, streams)
        for ram, words in zip(gates.rams, contents, strict=True):
            ram.write(words, old)
            ram.read(words, new)
            nets[ram.data] = pack(new[ram.data])


def _settle(nets: np.ndarray, gates: Gates, counted: np.ndarray) -> np.ndarray:
    """Evaluate all gates, one unit delay at a time, until nets are stable; count changes."""
    changes = np.zeros(gates.nets)
    for _ in range(MOST_STEPS):
        after = [array.values(nets) for array in gates.gates]
        is_settled = True
        for array, values in zip(gates.gates, after, strict=True):
            differs = values ^ nets[array.outputs]
            if differs.any():
                is_settled = False
                changes[array.outputs] += ones(differs & counted)
                nets[array.outputs] = values
        if is_settled:
            return changes
    raise ToolError("the netlist does not settle; it has a combinational loop")


def energy(gates: Gates, activity: Activity) -> Energy | None:
    """Return the energy of a run per cycle; ``None`` if the library lacks an energy."""
    voltage_v, cells = gates.library.voltage_v, gates.library.cells
    per_change = 0.5 * gates.load_ff * voltage_v**2
    for array in (*gates.gates, *gates.flip_flops):
        per_change[array.outputs] += array.cell.internal_fj
    clock = sum(
        count * (2 * cells[name].clock_edge_fj + cells[name].clock_ff * voltage_v**2)
        for name, count in gates.cells.items()
        if cells[name].is_flip_flop
    )
    leakage = sum(cells[name].leakage_nw * count for name, count in gates.cells.items())

    def logic(changes: np.ndarray) -> float:
        return float(per_change @ changes / activity.cycles)

    timed = activity.changes_gate_delay
    found = (logic(activity.changes_no_delay), logic(activity.changes_unit_delay), clock, leakage)
    if any(map(math.isnan, found)):
        return None
    return Energy(
        logic_no_delay_fj=found[0],
        logic_unit_delay_fj=found[1],
        logic_gate_delay_fj=None if timed is None else logic(timed),
        clock_fj=clock,
        leakage_uw=leakage / 1e3,
    )
