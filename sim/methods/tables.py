"""Tables of methods for the terminal: the list, and one method with its options."""

import dataclasses
import typing

from rich.console import Group
from rich.table import Table

from sim.errors import user_errors
from sim.methods.steps import SOLVERS, Solver
from sim.methods.text import option_values, parse_method, shown


def all_methods() -> Table:
    """Return a table with one row per method."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("method", "reads a text", "what it does"):
        table.add_column(title)
    for name, step in SOLVERS.items():
        table.add_row(name, "yes" if step.is_calibrated else "no", step.summary)
    return table


def method_table(name: str) -> Group:
    """Return a method's description, source and cost, and a row for each option."""
    with user_errors(ValueError):
        step = type(parse_method(name))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("option", "default", "values", "what it is"):
        table.add_column(title)
    for field in _fields(step):
        table.add_row(
            field.name,
            shown(field.default),
            option_values(step, field.name),
            step.options[field.name],
        )
    lines = [f"{name}: {step.summary}", f"source: {step.source}", f"cost: {step.cost}"]
    return Group(*lines, "", table) if table.row_count else Group(*lines)


def _fields(step: type[Solver]) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(typing.cast(typing.Any, step))
