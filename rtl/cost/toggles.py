"""Energy of a netlist on real operands: how often each net changes, times what a change costs.

Two counts bracket the true one approximately: with zero gate delay a net changes at most once per
cycle; with unit gate delay every glitch propagates. Wires have no capacitance, and the clock tree
is ideal.
"""

import math
from dataclasses import astuple, dataclass

import numpy as np

from rtl.cost.gates import Gates
from rtl.toolchain import ToolError

#: Largest number of unit delays in a cycle until all nets must be stable.
MOST_STEPS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Femtojoules a cycle of one netlist on some operands."""

    logic_no_delay_fj: float
    logic_unit_delay_fj: float
    clock_fj: float
    leakage_uw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Outcome of a run: results of every stream, and the number of changes of every net."""

    #: Values of each output port after the last cycle, one per stream.
    outputs: dict[str, np.ndarray]
    changes_no_delay: np.ndarray
    changes_unit_delay: np.ndarray
    cycles: int


def run(gates: Gates, inputs: list[dict[str, np.ndarray]]) -> Activity:
    """Simulate a netlist; ``inputs`` has a mapping of port to bits (bit, stream) for each cycle.

    The first cycle is a reset; its changes are not counted.
    """
    streams = next(iter(inputs[0].values())).shape[1]
    nets = np.zeros((gates.nets, streams), bool)
    nets[1] = True
    counts = np.zeros((2, gates.nets))
    contents = [np.zeros((ram.words, ram.bits, streams), bool) for ram in gates.rams]
    for cycle, ports in enumerate(inputs):
        before = nets.copy()
        for flops in gates.flip_flops:
            nets[flops.outputs] = flops.values(before) if cycle else False
        for name, bits in ports.items():
            nets[gates.ports[name]] = bits
        for ram, words in zip(gates.rams, contents, strict=True):
            ram.write(words, before)
            ram.read(words, nets)
        changes = (nets != before).sum(axis=1)
        changes = changes + _settle(nets, gates)
        if cycle:
            counts += np.stack([(nets != before).sum(axis=1), changes])
    outputs = {name: nets[places] for name, places in gates.ports.items()}
    return Activity(
        outputs=outputs,
        changes_no_delay=counts[0] / streams,
        changes_unit_delay=counts[1] / streams,
        cycles=len(inputs) - 1,
    )


def _settle(nets: np.ndarray, gates: Gates) -> np.ndarray:
    """Evaluate all gates, one unit delay at a time, until nets are stable; count changes."""
    changes = np.zeros(gates.nets)
    for _ in range(MOST_STEPS):
        after = [array.values(nets) for array in gates.gates]
        is_settled = True
        for array, values in zip(gates.gates, after, strict=True):
            differs = values != nets[array.outputs]
            if differs.any():
                is_settled = False
                changes[array.outputs] += differs.sum(axis=1)
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
    found = Energy(
        logic_no_delay_fj=float(per_change @ activity.changes_no_delay / activity.cycles),
        logic_unit_delay_fj=float(per_change @ activity.changes_unit_delay / activity.cycles),
        clock_fj=clock,
        leakage_uw=leakage / 1e3,
    )
    return None if any(math.isnan(part) for part in astuple(found)) else found
