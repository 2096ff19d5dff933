"""A netlist as arrays of gates by type, and its longest path."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rtl.cells import CELLS, SETUP_PS, Cell
from rtl.synthesis import Netlist

#: Nets that are constants, in yosys' words; they come first in an array of nets.
CONSTANTS = ("0", "1")
Function = Callable[..., np.ndarray]
FUNCTIONS: dict[str, Function] = {
    "INV": lambda a: ~a,
    "BUF": lambda a: a,
    "NAND2": lambda a, b: ~(a & b),
    "NOR2": lambda a, b: ~(a | b),
    "AND2": lambda a, b: a & b,
    "OR2": lambda a, b: a | b,
    "XOR2": lambda a, b: a ^ b,
    "XNOR2": lambda a, b: ~(a ^ b),
    "MUX2": lambda a, b, s: (s & b) | (~s & a),
    "AOI21": lambda a, b, c: ~((a & b) | c),
    "OAI21": lambda a, b, c: ~((a | b) & c),
    "AOI22": lambda a, b, c, d: ~((a & b) | (c & d)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateArray:
    """All gates of one type: nets of their inputs, one row an input, and of their outputs."""

    cell: Cell
    inputs: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """A netlist of the project's own cells; nets are numbers from 0, constants 0 and 1."""

    nets: int
    gates: tuple[GateArray, ...]
    flip_flops: GateArray
    #: Nets of each port, from its lowest bit on.
    ports: dict[str, np.ndarray]

    @property
    def load_ff(self) -> np.ndarray:
        """Capacitance of the inputs on each net."""
        load = np.zeros(self.nets)
        for array in (*self.gates, self.flip_flops):
            caps = list(array.cell.inputs.values())
            for row, cap in zip(array.inputs, caps, strict=False):
                np.add.at(load, row, cap)
        return load

    @property
    def longest_path_ps(self) -> float:
        """Longest delay between flip-flops and ports, by the cells' round numbers."""
        arrival = np.zeros(self.nets)
        arrival[self.flip_flops.outputs] = self.flip_flops.cell.delay_ps
        while True:
            before = arrival.copy()
            for array in self.gates:
                latest = arrival[array.inputs].max(axis=0) + array.cell.delay_ps
                arrival[array.outputs] = latest
            if np.array_equal(before, arrival):
                break
        ends = arrival[self.flip_flops.inputs[0]].max(initial=0.0) + SETUP_PS
        return float(max(ends, arrival.max()))


def read_gates(netlist: Netlist) -> Gates:
    """Return the arrays of a netlist that has the project's own cells alone."""
    numbers: dict[object, int] = {name: i for i, name in enumerate(CONSTANTS)}

    def net(bit: object) -> int:
        return numbers.setdefault("0" if bit == "x" else bit, len(numbers))

    ports = {
        name: np.array([net(bit) for bit in port["bits"]])
        for name, port in netlist.module["ports"].items()
    }
    by_type: dict[str, list[list[int]]] = {}
    for cell in netlist.module["cells"].values():
        known = CELLS[cell["type"]]
        pins = [*(name for name in known.inputs if name != "CK"), known.output]
        by_type.setdefault(known.name, []).append(
            [net(cell["connections"][pin][0]) for pin in pins]
        )
    arrays = {name: _array(CELLS[name], rows) for name, rows in by_type.items()}
    flops = arrays.pop("DFF")
    gates = tuple(arrays.values())
    return Gates(nets=len(numbers), gates=gates, flip_flops=flops, ports=ports)


def _array(cell: Cell, rows: list[list[int]]) -> GateArray:
    nets = np.array(rows).T
    return GateArray(cell=cell, inputs=nets[:-1], outputs=nets[-1])
