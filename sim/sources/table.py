"""The list of models for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.sources.catalog import ModelRow


def models_table(rows: Sequence[ModelRow]) -> RenderableType:
    """Return a table of models, one a line, followed by the origin of each and a note."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Model", "State", "Parameters", "Size", "Licence"):
        justify = "right" if title in ("Parameters", "Size") else "left"
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        parameters, size = _millions(row.parameters, ""), _millions(row.size_bytes, "B")
        table.add_row(row.id, row.state, parameters, size, row.licence)
    return Group(table, *(Text(f"\n{row.id}: {row.source}. {row.note}.") for row in rows))


def _millions(count: int | None, unit: str) -> str:
    """Write a count in millions.

    Examples
    --------
    >>> _millions(98_362_432, "B"), _millions(1_310_000, ""), _millions(None, "B")
    ('98.4 MB', '1.3 M', '-')
    """
    return "-" if count is None else f"{count / 1e6:.1f} M{unit}"
