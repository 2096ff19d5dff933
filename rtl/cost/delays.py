"""Propagation through a netlist with a delay for every gate, and inertial filtering.

A gate's output follows its function once that has differed from the output for the gate's delay, as
in a simulation of annotated delays: pulses shorter than the delay of the gate that they reach do
not pass it. ``is_inertial = False`` lets every pulse
pass (transport delay).

The delay of a gate is that of its cell at the load that tables are read at, plus a slope times the
difference of its own load. Wires have no capacitance.
"""

from collections.abc import Callable
from statistics import median

import numpy as np

from rtl.cost.gates import Gates
from rtl.cost.library import FAN_OUT, Library
from rtl.cost.packed import ones
from rtl.toolchain import ToolError

#: Time resolution over the delay of the smallest inverter.
RESOLUTION = 0.4
#: Rise of a delay per load of ``FAN_OUT`` median inputs, over that of the smallest inverter: median
#: of the cells of drive X1 of NanGate 45 nm, IHP SG13G2 and SkyWater 130 nm, which have 0.4 to 0.7.
LOAD_SLOPE = 0.6
#: Largest time in a cycle until all nets must be stable, over the longest path.
MOST_PATHS = 3


def gate_delays_ps(gates: Gates) -> np.ndarray:
    """Return the delay of the gate that drives each net, in ps; 0 where none does."""
    usual = _usual_load_ff(gates.library)
    slope = LOAD_SLOPE * _inverter_ps(gates.library) / usual
    load, found = gates.load_ff, np.zeros(gates.nets)
    for array in gates.gates:
        found[array.outputs] = array.cell.delay_ps + slope * (load[array.outputs] - usual)
    return np.asarray(np.maximum(found, 0.0))


def _usual_load_ff(library: Library) -> float:
    """Return the load at which the tables of a library are read."""
    return FAN_OUT * median(cap for cell in library.cells.values() for cap in cell.inputs.values())


def _inverter_ps(library: Library) -> float:
    """Return the delay of the smallest gate with one input."""
    gates = [c for c in library.cells.values() if len(c.inputs) == 1 and not c.is_flip_flop]
    return min(gates, key=lambda cell: (cell.area_um2, cell.delay_ps)).delay_ps


#: From the functions of all gates and their outputs now, the outputs that flip.
_Advance = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Propagation:
    """Gates of a netlist with their delays in steps; :meth:`settle` runs one cycle."""

    def __init__(
        self, gates: Gates, delays_ps: np.ndarray | None = None, *, is_inertial: bool = True
    ) -> None:
        delays_ps = gate_delays_ps(gates) if delays_ps is None else delays_ps
        step_ps = RESOLUTION * _inverter_ps(gates.library)
        self._arrays = gates.gates
        self._outputs = np.concatenate([array.outputs for array in gates.gates])
        self._steps = np.maximum(np.rint(delays_ps[self._outputs] / step_ps), 1).astype(np.int64)
        self._advance = self._inertial if is_inertial else self._transport
        # Steps in which a pulse may be on its way while functions equal their outputs.
        self._in_flight = 0 if is_inertial else int(self._steps.max())
        self._most = int(MOST_PATHS * (gates.longest_path_ps or 0.0) / step_ps)

    def settle(self, nets: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Propagate until nets, shape (net, word), are stable; return the changes of each net.

        ``counted`` has ones for the streams to count.
        """
        changes, advance = np.zeros(len(nets)), self._advance(nets.shape[1])
        function = np.empty((len(self._outputs), nets.shape[1]), np.uint64)
        still = 0
        for _ in range(self._most + 2 * int(self._steps.max())):
            place = 0
            for array in self._arrays:
                function[place : place + len(array.outputs)] = array.values(nets)
                place += len(array.outputs)
            output = nets[self._outputs]
            flips = advance(function, output)
            if flips.any():
                still = 0
                nets[self._outputs] = output ^ flips
                changes[self._outputs] += ones(flips & counted)
            elif still >= self._in_flight and np.array_equal(function, output):
                return changes
            still += 1
        raise ToolError("the netlist does not settle; it has a combinational loop")

    def _inertial(self, words: int) -> _Advance:
        """Return the rule that an output flips once its function has differed for its delay."""
        planes = int(self._steps.max()).bit_length()
        bits = (self._steps[:, None] >> np.arange(planes)[:, None, None]) & 1
        # Complement of each bit of the delays, as words.
        inverse = (bits - 1).view(np.uint64)
        waited = np.zeros((planes, len(self._steps), words), np.uint64)

        def advance(function: np.ndarray, output: np.ndarray) -> np.ndarray:
            differs = function ^ output
            carry, due = differs, differs.copy()
            for plane, mask in zip(waited, inverse, strict=True):
                plane &= differs
                carry, plane[:] = plane & carry, plane ^ carry
                due &= plane ^ mask
            waited[:] &= ~due
            return np.asarray(due)

        return advance

    def _transport(self, words: int) -> _Advance:
        """Return the rule that an output repeats its function after its delay."""
        longest, rows = int(self._steps.max()), np.arange(len(self._steps))
        history: np.ndarray | None = None
        now = 0

        def advance(function: np.ndarray, output: np.ndarray) -> np.ndarray:
            nonlocal history, now
            if history is None:
                history = np.repeat(output[None], longest, axis=0)
            history[now % longest] = function
            now += 1
            return np.asarray(history[(now - self._steps) % longest, rows] ^ output)

        return advance
