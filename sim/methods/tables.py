"""Tables of methods for the terminal: the list, and one method with its options."""

from rich.console import Group
from rich.table import Table

from numerics.names.suggest import unknown
from sim.errors import UserError
from sim.methods.catalog import STEPS
from sim.methods.chain import KINDS
from sim.methods.options import option_fields, option_values, shown


def all_methods() -> Table:
    """Return a table with one row per step, in the order of a chain."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("method", "reads a text", "what it does"):
        table.add_column(title)
    for kind, what in KINDS:
        steps = {name: step for name, step in STEPS.items() if issubclass(step, kind)}
        if steps:
            table.add_row(f"[bold]{what.split(' ', 1)[1]}[/bold]")
        for name, step in steps.items():
            table.add_row(name, "yes" if step.is_calibrated else "no", step.summary)
    return table


def method_table(name: str) -> Group:
    """Return a step's description, source and costs, and a row for each option."""
    if name not in STEPS:
        raise UserError(unknown("method", name, STEPS, see="qsim methods"))
    step = STEPS[name]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("option", "default", "values", "what it is"):
        table.add_column(title)
    for field in option_fields(step):
        table.add_row(
            field.name,
            shown(field.default),
            option_values(step, field.name),
            step.options[field.name],
        )
    kind = next(what for kind, what in KINDS if issubclass(step, kind))
    head = f"{name}: {step.summary}", f"kind: {kind}"
    lines = (*head, f"source: {step.source}", f"cost: {step.cost}", f"at run time: {step.run_time}")
    return Group(*lines, "", table) if table.row_count else Group(*lines)
