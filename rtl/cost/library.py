"""Cells of a liberty file, with what costs need: area, capacitance, function, delay and energy.

Tables become constants: the mean of rise and fall, at a load of twice the library's median input
capacitance and at the second transition time. Internal energy is counted for changes of outputs
and for clock edges; the energy of an input change that changes no output is left out.
Delays compare within one library; between libraries they are within about 30 % of a timing
analysis, since cells differ in how far their delay depends on load and transition.

Latches, and cells with several functions, are not read. Flip-flops with an asynchronous set or
clear are read: Yosys uses them, with those inputs tied off, if a library has no others.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from rtl.cost.boolean import Function, compiled
from rtl.cost.liberty import Group, place, read_liberty
from rtl.cost.liberty_tables import Tables, attribute, average, number
from rtl.toolchain import ToolError

_SCALES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
#: Fan-out, in gates, of the net whose load tables are read at.
FAN_OUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryCell:
    """One cell; numbers that the liberty file lacks are NaN."""

    name: str
    area_um2: float
    #: Capacitance of each input but the clock, in fF.
    inputs: dict[str, float]
    clock_ff: float
    #: Function of the inputs for each output; for flip-flops, the state after the clock edge.
    functions: dict[str, Function]
    is_flip_flop: bool
    #: Functions of the inputs that set or clear a flip-flop asynchronously while they are 1.
    overrides: tuple[Function, ...] = ()
    leakage_nw: float
    #: Energy inside the cell per change of an output, in fJ.
    internal_fj: float
    clock_edge_fj: float
    delay_ps: float
    setup_ps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The cells of one file by name."""

    name: str
    voltage_v: float
    cells: dict[str, LibraryCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Units:
    capacitance_ff: float
    time_ps: float
    leakage_nw: float
    energy_fj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    path: Path
    units: _Units
    tables: Tables


def read_library(path: Path) -> Library:
    """Return the usable cells of a liberty file.

    Raises
    ------
    ToolError
        The file is not a liberty file, or a cell is wrong; the message has line and cell.
    """
    root = read_liberty(path)
    templates = {g.names[0]: g for g in root.groups if g.kind.endswith("template") and g.names}
    loads = [
        attribute(path, [cell], pin, "capacitance")
        for cell in root.all("cell")
        for pin in cell.all("pin")
        if pin.text("direction") == "input" and "capacitance" in pin.attributes
    ]
    load = FAN_OUT * median(loads) if loads else math.nan
    tables = Tables(path=path, templates=templates, load=load)
    reader = _Reader(path=path, units=_units(path, root), tables=tables)
    cells = [_cell(reader, group) for group in root.all("cell")]
    if not cells:
        raise ToolError(f"{path}: line {root.line}: the library has no cell")
    usable = {cell.name: cell for cell in cells if cell is not None}
    return Library(
        name=root.names[0] if root.names else path.stem,
        voltage_v=attribute(path, [], root, "nom_voltage", missing=math.nan),
        cells=usable,
    )


def _units(path: Path, root: Group) -> _Units:
    load = root.attributes.get("capacitive_load_unit", ())
    if len(load) != 2:
        farads = 1e-12
    else:
        farads = number(path, root, load[0].text, load[0].line) * _SCALES.get(load[1].text[:1], 1.0)
    time = _unit(path, root, "time_unit", "1ns")
    volts = _unit(path, root, "voltage_unit", "1V")
    return _Units(
        capacitance_ff=farads * 1e15,
        time_ps=time * 1e12,
        leakage_nw=_unit(path, root, "leakage_power_unit", "1nW") * 1e9,
        energy_fj=farads * volts**2 * 1e15,
    )


def _unit(path: Path, root: Group, name: str, usual: str) -> float:
    text = (root.text(name) or usual).replace(" ", "")
    digits = len(text) - len(text.lstrip("0123456789."))
    line = root.attributes[name][0].line if root.attributes.get(name) else root.line
    scale = _SCALES.get(text[digits:-1])
    if scale is None:
        raise ToolError(f"{path}: line {line}: {name} {text!r} is not a unit such as {usual!r}")
    return number(path, root, text[:digits] or "1", line) * scale


def _cell(reader: _Reader, group: Group) -> LibraryCell | None:
    """Return a cell, or ``None`` for one that netlists of PEs do not use."""
    name = group.names[0] if group.names else ""
    area = attribute(reader.path, [group], group, "area", missing=math.nan)
    pins = {pin.names[0]: pin for pin in group.all("pin") if pin.names}
    outputs = {n: p for n, p in pins.items() if p.text("direction") == "output"}
    inputs = {n: p for n, p in pins.items() if p.text("direction") == "input"}
    flops = group.all("ff")
    if not _is_usable(group, outputs):
        return None
    if not area >= 0:
        what = "no area" if math.isnan(area) else f"an area of {area:g}"
        raise ToolError(f"{reader.path}: {place(group.line, [group])}: {what}")
    clock = _clock_of(reader, group, flops[0]) if flops else None
    state = _states(reader, group, flops[0]) if flops else {}
    functions = {n: _function(reader, group, p, "function") for n, p in outputs.items()}
    if state:
        functions = {n: _of_states(function, state) for n, function in functions.items()}
    timings = [
        t
        for pin in outputs.values()
        for t in pin.all("timing")
        if t.text("timing_type") not in {"clear", "preset"}
    ]
    setups = [
        t
        for n, pin in inputs.items()
        if n != clock
        for t in pin.all("timing")
        if (t.text("timing_type") or "").startswith("setup")
    ]
    powers = [p for pin in outputs.values() for p in pin.all("internal_power")]
    ticks = pins[clock].all("internal_power") if clock else []
    caps = {
        n: attribute(reader.path, [group], pin, "capacitance", missing=math.nan)
        * reader.units.capacitance_ff
        for n, pin in inputs.items()
    }
    delays = [reader.tables.mean(group, t, ("cell_rise", "cell_fall")) for t in timings]
    limits = [reader.tables.mean(group, t, ("rise_constraint", "fall_constraint")) for t in setups]
    energy = ("rise_power", "fall_power")
    units, mean_of = reader.units, reader.tables.mean
    return LibraryCell(
        name=name,
        area_um2=area,
        inputs={n: cap for n, cap in caps.items() if n != clock},
        clock_ff=caps[clock] if clock else math.nan,
        functions=functions,
        is_flip_flop=bool(flops),
        overrides=tuple(
            _function(reader, group, flop, name)
            for flop in flops
            for name in ("clear", "preset")
            if name in flop.attributes
        ),
        leakage_nw=_leakage(reader, group) * units.leakage_nw,
        internal_fj=average(mean_of(group, p, energy) for p in powers) * units.energy_fj,
        clock_edge_fj=average(mean_of(group, p, energy) for p in ticks) * units.energy_fj,
        delay_ps=max(delays, default=math.nan) * units.time_ps,
        setup_ps=max(limits, default=math.nan) * units.time_ps,
    )


def _is_usable(group: Group, outputs: dict[str, Group]) -> bool:
    if group.text("dont_use") == "true" or not outputs or group.all("latch"):
        return False
    if any(
        "function" not in pin.attributes or "three_state" in pin.attributes
        for pin in outputs.values()
    ):
        return False
    flops = group.all("ff")
    return len(flops) == 1 if flops else len(outputs) == 1


def _clock_of(reader: _Reader, cell: Group, flop: Group) -> str:
    clock = (flop.text("clocked_on") or "").strip("!'() ")
    if clock not in {pin.names[0] for pin in cell.all("pin") if pin.names}:
        raise ToolError(f"{reader.path}: {place(flop.line, [cell])}: clocked_on names no pin")
    return clock


def _states(reader: _Reader, cell: Group, flop: Group) -> dict[str, Function]:
    """Return the next value of a flip-flop's two state variables, by name."""
    taken = _function(reader, cell, flop, "next_state")
    states: dict[str, Function] = {name: taken for name in flop.names[:1]}
    for name in flop.names[1:2]:
        states[name] = lambda bits: np.invert(taken(bits))
    return states


def _of_states(function: Function, states: dict[str, Function]) -> Function:
    return lambda bits: function({name: state(bits) for name, state in states.items()})


def _function(reader: _Reader, cell: Group, group: Group, name: str) -> Function:
    words = group.attributes.get(name)
    line = words[0].line if words else group.line
    try:
        return compiled(group.text(name) or "", _bits(cell))
    except ValueError as error:
        raise ToolError(f"{reader.path}: {place(line, [cell])}: {name} {error}") from None


def _bits(cell: Group) -> tuple[str, ...] | None:
    """Return the names of a cell's pins and state variables; ``None`` if some are buses."""
    if cell.all("bus") or cell.all("bundle"):
        return None
    # A state table names several state variables in one string.
    return tuple(bit for group in cell.groups for name in group.names for bit in name.split())


def _leakage(reader: _Reader, cell: Group) -> float:
    if "cell_leakage_power" in cell.attributes:
        return attribute(reader.path, [cell], cell, "cell_leakage_power")
    parts = cell.all("leakage_power")
    return average(attribute(reader.path, [cell], part, "value") for part in parts)
