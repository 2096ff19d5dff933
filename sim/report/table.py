"""The results of a sweep as rows: on the terminal and as Markdown."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.report.kinds import is_reference
from sim.sweep.result import PointResult

#: From here on, numbers are shown by their leading digits.
HUGE = 1e6

Cell = Callable[[PointResult], float | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column shows of a result."""

    #: The number or text to sort by; ``None`` where there is none.
    value: Cell
    #: Format of the number.
    spec: str = ""
    suffix: str = ""
    #: What the column means, in a few words.
    meaning: str

    def show(self, point: PointResult) -> str:
        """Return the cell of a result as text."""
        value = self.value(point)
        if value is None:
            return ""
        if isinstance(value, str):
            return printable(value)
        return f"{value:{self.spec if abs(value) < HUGE else '.3g'}}{self.suffix}"


class LossColumn(Column):
    """The loss with its error."""

    def show(self, point: PointResult) -> str:
        """Return the loss with its standard error."""
        return loss_text(point)


#: Columns by their headings, the most needed first.
COLUMNS: dict[str, Column] = {
    "recipe": Column(value=lambda p: p.recipe, meaning="what is quantized, and how"),
    "loss (nats)": LossColumn(
        value=lambda p: p.delta_nats,
        meaning="mean negative log-likelihood less that of float32 on the same windows, "
        "± its standard error over windows",
    ),
    "perplexity": Column(value=lambda p: p.perplexity, spec=",.2f", meaning="on the same windows"),
    "bits/weight": Column(
        value=lambda p: p.bits_per_weight,
        spec=".3f",
        meaning="mean over the linear layers and what else is quantized, side data included",
    ),
    "KL mean": Column(
        value=lambda p: p.kl_mean,
        spec=".4f",
        meaning="divergence of the next-token distribution from that of float32, in nats",
    ),
    "top-1": Column(
        value=lambda p: 100 * p.top1_agreement,
        spec=".1f",
        suffix=" %",
        meaning="positions whose likeliest token is that of float32",
    ),
    "KL p99": Column(value=lambda p: p.kl_p99, spec=".3f", meaning="its 99th percentile"),
    "SQNR dB": Column(
        value=lambda p: statistics.median(p.sqnr_db.values()) if p.sqnr_db else None,
        spec=".1f",
        meaning="signal to quantization noise of the weights, median over matrices",
    ),
    "MB": Column(
        value=lambda p: p.model_bytes / 1e6,
        spec=",.1f",
        meaning="the whole model, what is not quantized as float32",
    ),
    "tokens/s": Column(
        value=lambda p: p.tokens_per_s, spec=",.0f", meaning="speed of this simulation"
    ),
    "wall s": Column(value=lambda p: p.wall_s, spec=",.1f", meaning="time of this simulation"),
}
#: Characters between two columns, and the least that a name gets before columns are left out.
GUTTER, LEAST_NAME = 2, 20
#: Characters of a name that a figure shows.
MAX_NAME = 44


def printable(text: str) -> str:
    """Return a text on one line and without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(name: str, limit: int = MAX_NAME) -> str:
    """Return a name on one line, its middle left out where it is long.

    Examples
    --------
    >>> shortened("w=fp4_e2m1:g128:fp16,a=int8:token", 20)
    'w=fp4_e2m1:g…8:token'
    """
    line = printable(name)
    if len(line) <= limit:
        return line
    tail = limit // 3 + 1
    return f"{line[: limit - tail - 1]}…{line[-tail:]}"


def by_loss(results: Iterable[PointResult]) -> list[PointResult]:
    """Sort from the smallest loss to the largest, the float model first, no number last."""
    return sorted(
        results, key=lambda p: (not is_reference(p), math.isnan(p.delta_nats), p.delta_nats)
    )


def loss_text(point: PointResult) -> str:
    """Return the difference to the float model with its standard error."""
    if is_reference(point):
        return "reference"
    error = "" if point.delta_nats_se is None else f" ± {point.delta_nats_se:.4f}"
    return f"{point.delta_nats:+.4f}{error}"


def print_table(results: Sequence[PointResult], console: Console) -> None:
    """Print the results sorted by loss, as many columns as the console is wide, and the notes."""
    points = by_loss(results)
    table = Table(box=None, pad_edge=False, padding=(0, GUTTER, 0, 0), header_style="bold")
    columns = fitting_columns(points, console.width)
    for heading in columns:
        is_name = heading == "recipe"
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=not is_name)
        table.columns[-1].overflow = "fold"
    for point in points:
        table.add_row(*(Text(COLUMNS[heading].show(point)) for heading in columns))
    console.print(table)
    for line in notes(results):
        console.print(line, style="dim", highlight=False, markup=False)


def fitting_columns(points: Sequence[PointResult], width: int) -> list[str]:
    """Return the headings of the first columns that fit ``width``; a long name may wrap."""
    widths = {
        heading: max(len(heading), *(len(column.show(p)) for p in points))
        for heading, column in COLUMNS.items()
    }
    widths["recipe"] = min(widths["recipe"], LEAST_NAME)
    fitting: list[str] = []
    for heading, needed in widths.items():
        width -= needed + (GUTTER if fitting else 0)
        if width < 0 and len(fitting) >= 2:
            break
        fitting.append(heading)
    return fitting


def notes(results: Sequence[PointResult]) -> list[str]:
    """Return what must stand beside the numbers: the sample, then the notes of the model."""
    first = results[0]
    sample = f"{first.model} on {first.text}: {first.sampling}."
    said = dict.fromkeys([sample, *(note for p in results for note in p.notes)])
    return [printable(note) for note in said]


def markdown_table(results: Sequence[PointResult]) -> str:
    """Return the results sorted by loss as a Markdown table of all columns."""
    rows = [list(COLUMNS), ["---", *["---:"] * (len(COLUMNS) - 1)]]
    rows += [
        [_markdown(column.show(point)) for column in COLUMNS.values()] for point in by_loss(results)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _markdown(text: str) -> str:
    """Escape what Markdown would take for more than text."""
    special = str.maketrans({c: f"\\{c}" for c in "\\|`*[]~"})
    return escape(text, quote=False).translate(special)
