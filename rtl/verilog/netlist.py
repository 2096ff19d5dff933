"""A flat RTLIL module as wires, cells and bits, with a reader and a writer of Yosys' text format.

The reader accepts what Amaranth's circuits contain after ``proc``, ``flatten`` and
``memory_collect``: wires, cells and connections. Attributes are dropped, initial values of
registers among them, since every register has a synchronous reset.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

#: A bit of a wire by its index, or a constant ``0``, ``1`` or ``x``.
Bit = tuple[str, int] | str
#: Bits of a signal, the least significant first.
Signal = list[Bit]

_TOKEN = re.compile(r"\{|\}|\[\d+(?::\d+)?\]|\d+(?:'[01xz]*)?|[\\$]\S+")
_WIRE = re.compile(r"  wire (?:width (\d+) )?(?:(input|output) (\d+) )?(?:signed )?(\S+)$")


@dataclass(slots=True, kw_only=True)
class Wire:
    """A wire's width, and its direction and position if it is a port."""

    width: int
    port: str = ""


@dataclass(slots=True, kw_only=True)
class Cell:
    """A cell of Yosys' library, with parameters as Yosys writes them."""

    kind: str
    parameters: dict[str, str]
    connections: dict[str, Signal]

    def number(self, name: str) -> int:
        """Return a parameter as a number."""
        return int(self.parameters[name])

    @property
    def outputs(self) -> Iterator[Signal]:
        """The signals that the cell drives."""
        for name, signal in self.connections.items():
            if name in {"Y", "Q", "RD_DATA"}:
                yield signal

    @property
    def inputs(self) -> Iterator[Signal]:
        """The signals that the cell reads."""
        for name, signal in self.connections.items():
            if name not in {"Y", "Q", "RD_DATA"}:
                yield signal


@dataclass(slots=True, kw_only=True)
class Netlist:
    """A module, with RTLIL's names."""

    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    #: Pairs of a signal and the signal that drives it.
    connections: list[tuple[Signal, Signal]] = field(default_factory=list)

    def new_name(self) -> str:
        """Return an unused wire name."""
        return next(name for i in count(1) if (name := f"\\n{i}") not in self.wires)

    def new_wire(self, width: int) -> Signal:
        """Return the bits of a new wire."""
        name = self.new_name()
        self.wires[name] = Wire(width=width)
        return [(name, i) for i in range(width)]

    def add(self, kind: str, parameters: dict[str, int], connections: dict[str, Signal]) -> None:
        """Add a cell."""
        name = next(name for i in count(1) if (name := f"$added${i}") not in self.cells)
        self.cells[name] = Cell(
            kind=kind,
            parameters={name: str(value) for name, value in parameters.items()},
            connections=connections,
        )


def read_netlist(rtlil: str) -> Netlist:
    """Return the module of an RTLIL text."""
    lines = iter(rtlil.splitlines())
    found = Netlist(name="")
    for line in lines:
        if line.startswith("module "):
            found.name = line.split()[1]
        elif wire := _WIRE.match(line):
            width, direction, place, name = wire.groups()
            port = f"{direction} {place} " if direction else ""
            found.wires[name] = Wire(width=int(width or 1), port=port)
        elif line.startswith("  cell "):
            _, kind, name = line.split()
            found.cells[name] = _cell(found, kind, lines)
        elif line.startswith("  connect "):
            left, right = _signals(found, line.removeprefix("  connect "))
            found.connections.append((left, right))
        elif not re.match(r"#|autoidx|end$| *attribute |$", line):
            raise ValueError(f"unexpected RTLIL: {line!r}")
    return found


def _cell(netlist: Netlist, kind: str, lines: Iterator[str]) -> Cell:
    cell = Cell(kind=kind, parameters={}, connections={})
    for line in lines:
        if line == "  end":
            return cell
        word, name, value = line.strip().split(" ", 2)
        if word == "parameter":
            name, value = value.split(" ", 1) if name in {"signed", "real"} else (name, value)
            cell.parameters[name[1:]] = value
        else:
            (cell.connections[name[1:]],) = _signals(netlist, value)
    raise ValueError("RTLIL ends inside a cell")


def _signals(netlist: Netlist, text: str) -> list[Signal]:
    """Return the signals of a line.

    ``{ }`` lists parts from the highest; a constant of equal bits may be written as one bit.
    """
    stack: list[list[Signal]] = [[]]
    for token in _TOKEN.findall(text):
        if token == "{":
            stack.append([])
        elif token == "}":
            parts = stack.pop()
            stack[-1].append([bit for part in reversed(parts) for bit in part])
        elif token[0] == "[":
            high, _, low = token[1:-1].partition(":")
            stack[-1][-1] = stack[-1][-1][int(low or high) : int(high) + 1]
        elif token[0].isdigit():
            width, _, bits = token.partition("'") if "'" in token else _decimal(token)
            stack[-1].append(list(reversed(bits.rjust(int(width), bits[0]))))
        else:
            stack[-1].append([(token, i) for i in range(netlist.wires[token].width)])
    return stack[0]


def _decimal(token: str) -> tuple[str, str, str]:
    """Return width and bits of a decimal integer, in RTLIL a constant of 32 bits."""
    return "32", "'", f"{int(token):032b}"


def write_netlist(netlist: Netlist) -> str:
    """Return the RTLIL text of a module."""
    lines = [f"module {netlist.name}"]
    for name, wire in netlist.wires.items():
        lines.append(f"  wire width {wire.width} {wire.port}{name}")
    for name, cell in netlist.cells.items():
        lines.append(f"  cell {cell.kind} {name}")
        lines += [f"    parameter \\{key} {value}" for key, value in cell.parameters.items()]
        lines += [f"    connect \\{key} {_text(bits)}" for key, bits in cell.connections.items()]
        lines.append("  end")
    lines += [f"  connect {_text(left)} {_text(right)}" for left, right in netlist.connections]
    return "\n".join([*lines, "end", ""])


def _text(signal: Iterable[Bit]) -> str:
    """Return a signal as RTLIL text, with neighbouring bits joined to ranges."""
    parts: list[tuple[str, int, int] | str] = []
    for bit in signal:
        last = parts[-1] if parts else None
        if isinstance(bit, str):
            if isinstance(last, str):
                parts[-1] = bit + last
            else:
                parts.append(bit)
        elif isinstance(last, tuple) and last[0] == bit[0] and last[2] + 1 == bit[1]:
            parts[-1] = (last[0], last[1], bit[1])
        else:
            parts.append((bit[0], bit[1], bit[1]))
    return f"{{ {' '.join(_part(part) for part in reversed(parts))} }}"


def _part(part: tuple[str, int, int] | str) -> str:
    if isinstance(part, str):
        return f"{len(part)}'{part}"
    name, low, high = part
    return f"{name} [{high}:{low}]"
