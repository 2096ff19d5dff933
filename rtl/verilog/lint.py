"""Netlist changes that keep the function and avoid the warnings of Verilog linters.

RTLIL cells extend narrow operands and drop high bits implicitly. Verilog's operators do so too, but
linters warn of every operand that is not as wide as its context; of a parallel multiplexer, which
Yosys writes as a ``casez`` with overlapping cases; and of bits that nothing reads.
"""

import re

from rtl.verilog.netlist import Bit, Cell, Netlist, Signal, Wire

#: Operators whose operands must be as wide as their result.
_AS_RESULT = {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$xnor"}
#: Operators whose operands must be as wide as the wider one.
_AS_EACH_OTHER = {"$lt", "$le", "$gt", "$ge", "$eq", "$ne"}
#: Operators whose first operand must be as wide as their result; a shift amount may have any width.
_FIRST_AS_RESULT = {"$neg", "$not", "$pos", "$shl", "$sshl", "$shr", "$sshr"}
#: Operators whose low result bits depend on high bits of the operand.
_TO_THE_RIGHT = {"$shr", "$sshr"}


def linted(netlist: Netlist) -> None:
    """Change a netlist in place."""
    for name, cell in list(netlist.cells.items()):
        if cell.kind == "$pmux":
            del netlist.cells[name]
            _as_and_or(netlist, cell)
    for cell in netlist.cells.values():
        _as_comparison(cell)
        _keep_high_bits(netlist, cell)
        _widen(cell)
    _trim(netlist)
    _read_unused(netlist)
    _rename(netlist)


def _keep_high_bits(netlist: Netlist, cell: Cell) -> None:
    """Widen the result of a right shift to its operand, and use the low bits."""
    if cell.kind in _TO_THE_RIGHT and cell.number("A_WIDTH") > cell.number("Y_WIDTH"):
        result, wide = cell.connections["Y"], netlist.new_wire(cell.number("A_WIDTH"))
        cell.connections["Y"] = wide
        cell.parameters["Y_WIDTH"] = str(len(wide))
        netlist.connections.append((result, wide[: len(result)]))


def _operands(cell: Cell) -> tuple[tuple[str, ...], int]:
    """Return the operands of a cell that need a certain width, and that width."""
    if cell.kind in _AS_RESULT:
        return ("A", "B"), cell.number("Y_WIDTH")
    if cell.kind in _AS_EACH_OTHER:
        return ("A", "B"), max(cell.number("A_WIDTH"), cell.number("B_WIDTH"))
    if cell.kind in _FIRST_AS_RESULT:
        return ("A",), cell.number("Y_WIDTH")
    return (), 0


def _widen(cell: Cell) -> None:
    """Extend operands by explicit sign or zero bits; cut those that are too wide.

    Signed operands stay signed, so that synthesis can drop the copies of a sign again.
    """
    names, width = _operands(cell)
    is_signed = all(cell.number(f"{name}_SIGNED") for name in names)
    for name in names:
        bits = cell.connections[name]
        filling: Bit = bits[-1] if is_signed else "0"
        cell.connections[name] = (bits + [filling] * (width - len(bits)))[:width]
        cell.parameters |= {f"{name}_WIDTH": str(width), f"{name}_SIGNED": str(int(is_signed))}


def _as_comparison(cell: Cell) -> None:
    """Turn the logical negation of several bits into a comparison with 0."""
    if cell.kind == "$logic_not" and cell.number("A_WIDTH") > 1:
        width = cell.number("A_WIDTH")
        cell.kind = "$eq"
        cell.parameters |= {"A_SIGNED": "0", "B_SIGNED": "0", "B_WIDTH": str(width)}
        cell.connections["B"] = ["0"] * width


def _as_and_or(netlist: Netlist, cell: Cell) -> None:
    """Replace a parallel multiplexer: OR the inputs that are selected, else take the default."""
    default, inputs, selects = (cell.connections[name] for name in "ABS")
    width = len(default)
    found: Signal | None = None
    for index, select in enumerate(selects):
        term = inputs[index * width : (index + 1) * width]
        gated = _binary(netlist, "$and", term, [select] * width)
        found = gated if found is None else _binary(netlist, "$or", found, gated)
    assert found is not None
    if set(default) <= {"0", "x"}:
        netlist.connections.append((cell.connections["Y"], found))
        return
    is_selected = netlist.new_wire(1)
    netlist.add(
        "$reduce_or",
        {"A_SIGNED": 0, "A_WIDTH": len(selects), "Y_WIDTH": 1},
        {"A": selects, "Y": is_selected},
    )
    netlist.add(
        "$mux",
        {"WIDTH": width},
        {"A": default, "B": found, "S": is_selected, "Y": cell.connections["Y"]},
    )


def _binary(netlist: Netlist, kind: str, a: Signal, b: Signal) -> Signal:
    """Add an operator on signals of one width; return its result."""
    width, found = len(a), netlist.new_wire(len(a))
    netlist.add(
        kind,
        {"A_SIGNED": 0, "A_WIDTH": width, "B_SIGNED": 0, "B_WIDTH": width, "Y_WIDTH": width},
        {"A": a, "B": b, "Y": found},
    )
    return found


def _bits(signals: list[Signal]) -> set[tuple[str, int]]:
    return {bit for signal in signals for bit in signal if not isinstance(bit, str)}


def _driven_and_read(netlist: Netlist) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    ports = {"input": list[Signal](), "output": list[Signal]()}
    for name, wire in netlist.wires.items():
        if wire.port:
            ports[wire.port.split()[0]].append([(name, i) for i in range(wire.width)])
    cells = netlist.cells.values()
    driven = [signal for cell in cells for signal in cell.outputs]
    read = [signal for cell in cells for signal in cell.inputs]
    driven += [left for left, _ in netlist.connections]
    read += [right for _, right in netlist.connections]
    return _bits(driven + ports["input"]), _bits(read + ports["output"])


def _trim(netlist: Netlist) -> None:
    """Drop the bits of wires that are neither driven nor read."""
    in_use = set[tuple[str, int]]().union(*_driven_and_read(netlist))
    places: dict[tuple[str, int], Bit] = {}
    for name, wire in list(netlist.wires.items()):
        kept = [i for i in range(wire.width) if wire.port or (name, i) in in_use]
        places |= {(name, old): (name, new) for new, old in enumerate(kept)}
        netlist.wires[name] = Wire(width=len(kept), port=wire.port)
        if not kept:
            del netlist.wires[name]
    _replace(netlist, places)


def _replace(netlist: Netlist, places: dict[tuple[str, int], Bit]) -> None:
    def moved(signal: Signal) -> Signal:
        return [bit if isinstance(bit, str) else places[bit] for bit in signal]

    for cell in netlist.cells.values():
        cell.connections = {name: moved(signal) for name, signal in cell.connections.items()}
    netlist.connections = [(moved(left), moved(right)) for left, right in netlist.connections]


def _read_unused(netlist: Netlist) -> None:
    """Add a wire ``unused`` that reads all otherwise unread bits, as Verilator advises."""
    driven, read = _driven_and_read(netlist)
    unused = sorted(driven - read)
    if unused:
        netlist.wires["\\unused"] = Wire(width=1)
        netlist.add(
            "$reduce_and",
            {"A_SIGNED": 0, "A_WIDTH": len(unused) + 1, "Y_WIDTH": 1},
            {"A": [*unused, "0"], "Y": [("\\unused", 0)]},
        )


def _rename(netlist: Netlist) -> None:
    """Rename wires to names without escapes in Verilog; generated names become numbers."""
    wires, names = netlist.wires, dict[str, str]()
    netlist.wires = {name: wire for name, wire in wires.items() if wire.port}
    for name, wire in wires.items():
        if wire.port:
            names[name] = name
            continue
        plain = "\\" + re.sub(r"\W+", "_", name[1:]).strip("_")
        if name[0] == "$" or plain in netlist.wires or re.fullmatch(r"\\(n\d+|\d.*)", plain):
            plain = netlist.new_name()
        netlist.wires[plain] = wire
        names[name] = plain
    places = {(old, i): (new, i) for old, new in names.items() for i in range(wires[old].width)}
    _replace(netlist, dict(places))
