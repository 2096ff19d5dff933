"""A netlist as arrays of gates by type, and its longest path."""

from dataclasses import dataclass

import numpy as np

from rtl.cost.boolean import Function
from rtl.cost.library import Library, LibraryCell
from rtl.cost.macros import CELL, Ram, ram_of
from rtl.cost.synthesis import Netlist
from rtl.toolchain import ToolError

#: Nets that are constants, as Yosys names them; the first nets of an array.
CONSTANTS = ("0", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateArray:
    """One output of all gates of one type: a row of nets per input, and the nets of the output."""

    cell: LibraryCell
    function: Function
    inputs: np.ndarray
    outputs: np.ndarray

    def values(self, nets: np.ndarray) -> np.ndarray:
        """Return the output, or the state after the clock's edge, from the values of all nets."""
        return self.function(dict(zip(self.cell.inputs, nets[self.inputs], strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """A netlist of a library's cells; nets are numbered, nets 0 and 1 being the constants."""

    nets: int
    gates: tuple[GateArray, ...]
    flip_flops: tuple[GateArray, ...]
    #: Number of cells of each type; a cell with two outputs is in two arrays.
    cells: dict[str, int]
    library: Library
    #: Nets of each port, lowest bit first.
    ports: dict[str, np.ndarray]
    #: Memories that are macros.
    rams: tuple[Ram, ...]

    @property
    def load_ff(self) -> np.ndarray:
        """Capacitance of the inputs on each net."""
        load, seen = np.zeros(self.nets), set()
        for array in (*self.gates, *self.flip_flops):
            if array.cell.name not in seen:
                for row, cap in zip(array.inputs, array.cell.inputs.values(), strict=True):
                    np.add.at(load, row, cap)
            seen.add(array.cell.name)
        return load

    @property
    def longest_path_ps(self) -> float | None:
        """Longest delay between flip-flops and ports, in ps; ``None`` if a cell has no delay."""
        arrival = np.zeros(self.nets)
        for array in self.flip_flops:
            arrival[array.outputs] = array.cell.delay_ps
        for _ in range(self.nets):
            before = arrival.copy()
            for array in self.gates:
                latest = arrival[array.inputs].max(axis=0, initial=0.0) + array.cell.delay_ps
                arrival[array.outputs] = latest
            for ram in self.rams:
                arrival[ram.data] = arrival[ram.address].max() + ram.access_ps
            if np.array_equal(before, arrival, equal_nan=True):
                break
        ends = [arrival[a.inputs].max(initial=0.0) + a.cell.setup_ps for a in self.flip_flops]
        longest = float(np.max([*ends, arrival.max()]))
        return None if np.isnan(longest) else longest


def read_gates(netlist: Netlist, library: Library) -> Gates:
    """Return the arrays of a netlist.

    Raises
    ------
    ToolError
        A cell has no function in the library, or an asynchronous set or reset that is not tied off.
    """
    numbers: dict[object, int] = {name: i for i, name in enumerate(CONSTANTS)}

    def net(bit: object) -> int:
        return numbers.setdefault("0" if bit == "x" else bit, len(numbers))

    ports = {
        name: np.array([net(bit) for bit in port["bits"]])
        for name, port in netlist.module["ports"].items()
    }
    rows: dict[str, list[list[int]]] = {}
    rams = []
    for name, cell in netlist.module["cells"].items():
        if cell["type"] == CELL:
            rams.append(ram_of(name, cell, net))
            continue
        if cell["type"] not in library.cells:
            raise ToolError(f"{library.name}: cell {cell['type']} has no function that can be read")
        known, wires = library.cells[cell["type"]], cell["connections"]
        # An unconnected output drives a new net.
        pins = [
            net(wires[pin][0]) if wires.get(pin) else net((id(cell), pin))
            for pin in (*known.inputs, *known.functions)
        ]
        rows.setdefault(known.name, []).append(pins)
    arrays = [array for name, pins in rows.items() for array in _arrays(library.cells[name], pins)]
    return Gates(
        nets=len(numbers),
        gates=tuple(a for a in arrays if not a.cell.is_flip_flop),
        flip_flops=tuple(a for a in arrays if a.cell.is_flip_flop),
        cells={name: len(pins) for name, pins in rows.items()},
        library=library,
        ports=ports,
        rams=tuple(rams),
    )


def _arrays(cell: LibraryCell, rows: list[list[int]]) -> list[GateArray]:
    nets, inputs = np.array(rows).T, len(cell.inputs)
    _check_tied_off(cell, nets[:inputs])
    return [
        GateArray(cell=cell, function=function, inputs=nets[:inputs], outputs=nets[inputs + i])
        for i, function in enumerate(cell.functions.values())
    ]


def _check_tied_off(cell: LibraryCell, inputs: np.ndarray) -> None:
    """Raise ToolError unless asynchronous inputs of flip-flops are tied to their inactive value.

    A net that is not a constant is tried with both values.
    """
    for value in (False, True):
        bits = np.where(inputs < len(CONSTANTS), inputs == 1, value)
        given = dict(zip(cell.inputs, bits, strict=True))
        if any(np.any(override(given)) for override in cell.overrides):
            raise ToolError(
                f"{cell.name} is set or cleared asynchronously in the netlist; PEs have"
                " synchronous resets, so its inputs have to be tied off"
            )
