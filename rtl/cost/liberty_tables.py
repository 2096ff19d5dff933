"""Numbers of liberty files, and their tables as one number each.

A table over loads is read at one load for the whole library; a table over transition times is read
at the second of its transition times.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from rtl.cost.liberty import Group, place
from rtl.toolchain import ToolError

#: Liberty's name of the load capacitance, a variable of tables.
LOAD = "total_output_net_capacitance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Reader of the tables of one liberty file."""

    path: Path
    templates: dict[str, Group]
    #: Load capacitance at which tables are read, in the file's unit.
    load: float

    def mean(self, cell: Group, group: Group, kinds: tuple[str, ...]) -> float:
        """Return the mean of a group's tables of some kinds; NaN if it has none."""
        tables = [table for kind in kinds for table in group.all(kind)]
        return average(self._constant(cell, table) for table in tables)

    def _constant(self, cell: Group, table: Group) -> float:
        values = _numbers(self.path, cell, table, "values")
        template = self.templates.get(table.names[0] if table.names else "")
        if len(values) == 1 or template is None:
            return values[0] if len(values) == 1 else math.nan
        axes = self._axes(cell, table, template)
        if math.prod(len(axis) for _, axis in axes) != len(values):
            where = place(table.attributes["values"][0].line, [cell])
            text = " x ".join(str(len(axis)) for _, axis in axes)
            raise ToolError(f"{self.path}: {where}: {len(values)} values for {text} indices")
        found = np.array(values).reshape([len(axis) for _, axis in axes])
        for variable, axis in axes:
            if variable == LOAD:
                found = _interpolated(found, axis, self.load)
            else:
                found = found[min(1, len(axis) - 1)]
        return float(found)

    def _axes(self, cell: Group, table: Group, template: Group) -> list[tuple[str, list[float]]]:
        """Return a table's variables and their indices; its own override its template's."""
        axes = []
        for number in range(1, 4):
            index = f"index_{number}"
            source = table if index in table.attributes else template
            if index in source.attributes:
                axis = _numbers(self.path, cell, source, index)
                axes.append((template.text(f"variable_{number}") or "", axis))
        return axes


def _interpolated(values: np.ndarray, axis: list[float], at: float) -> np.ndarray:
    """Return values interpolated along their first axis; outside it, the value at its end."""
    end = min(int(np.searchsorted(axis, at)), len(axis) - 1)
    low, high = axis[max(end - 1, 0)], axis[end]
    share = min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 1.0
    return np.asarray(values[max(end - 1, 0)] * (1 - share) + values[end] * share)


def _numbers(path: Path, cell: Group, group: Group, name: str) -> list[float]:
    found = [
        number(path, cell, text, word.line)
        for word in group.attributes.get(name, ())
        for text in word.text.replace(",", " ").split()
    ]
    if not found:
        raise ToolError(f"{path}: {place(group.line, [cell])}: {group.kind} has no {name}")
    return found


def attribute(
    path: Path, cells: list[Group], group: Group, name: str, *, missing: float | None = None
) -> float:
    """Return a group's attribute as a number; if absent, ``missing``, or raise ToolError."""
    words = group.attributes.get(name)
    if words is None and missing is not None:
        return missing
    if not words:
        raise ToolError(f"{path}: {place(group.line, cells)}: {group.kind} has no {name}")
    return number(path, cells[0] if cells else group, words[0].text, words[0].line)


def number(path: Path, group: Group, text: str, line: int) -> float:
    """Return a text as a number, or raise ToolError with the line and the cell."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ToolError(f"{path}: {place(line, [group])}: {text!r} where a number should stand")
    return found


def average(values: Iterable[float]) -> float:
    """Return the mean; NaN if there are no values."""
    found = list(values)
    return mean(found) if found else math.nan
