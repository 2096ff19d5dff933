"""Tables for the terminal: the deciding columns first, what does not fit is named below."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

#: Characters between two columns.
GUTTER = 2
#: Least width of a column whose text may wrap.
LEAST_WRAPPED = 24


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, whether it holds numbers, and whether its text may wrap."""

    heading: str
    is_number: bool = False
    wraps: bool = False


def words(*headings: str) -> tuple[Column, ...]:
    """Return columns of words, aligned left."""
    return tuple(Column(heading) for heading in headings)


def numbers(*headings: str) -> tuple[Column, ...]:
    """Return columns of numbers, aligned right."""
    return tuple(Column(heading, is_number=True) for heading in headings)


class FittingTable:
    """Rows of text in columns, the most needed columns first.

    Columns that a terminal is too narrow for are left out whole, the last ones first, and named in
    a line below together with ``see``: where they are found.
    """

    def __init__(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, see: str = ""):
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]
        self.see = see

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the columns that fit, and a line on those that don't."""
        kept = self.fitting(options.max_width)
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GUTTER, 0, 0))
        for index in kept:
            column = self.columns[index]
            table.add_column(
                column.heading,
                justify="right" if column.is_number else "left",
                no_wrap=not column.wraps,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*(Text(row[index]) for index in kept))
        yield table
        if left_out := [c.heading for i, c in enumerate(self.columns) if i not in kept]:
            place = f"Left out of {options.max_width} columns: {', '.join(left_out)}."
            yield Text(f"{place} {self.see}".rstrip())

    def fitting(self, width: int) -> list[int]:
        """Return the indices of the first columns that fit ``width``, at least two."""
        kept: list[int] = []
        for index, column in enumerate(self.columns):
            width -= self._width(index, column) + GUTTER
            if width + GUTTER < 0 and len(kept) >= 2:
                break
            kept.append(index)
        return kept

    def _width(self, index: int, column: Column) -> int:
        needed = max(cell_len(text) for text in (column.heading, *(r[index] for r in self.rows)))
        return min(needed, LEAST_WRAPPED) if column.wraps else needed
