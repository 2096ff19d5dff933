"""Comparison of another implementation's files with the conformance pack."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from numerics.conformance.check import check_directory
from sim.errors import user_errors


def check(directory: Path) -> tuple[Table, bool]:
    """Return a table of the arrays compared, and whether all are equal."""
    with user_errors(ValueError):
        verdicts = check_directory(directory)
    table = Table(box=None, pad_edge=False)
    for heading in ("file", "array", "compared", "different", "first difference"):
        justify = "right" if heading in ("compared", "different") else "left"
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for v in verdicts:
        row = (v.file, v.array, str(v.compared), str(v.different), v.first)
        table.add_row(*map(Text, row))
    return table, not any(v.different for v in verdicts)
