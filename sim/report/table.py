"""The results of a sweep as rows: on the terminal and as Markdown."""

import math
from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.report.kinds import is_reference
from sim.report.ranking import Row, rank
from sim.sweep.result import COLUMNS, Column, PointResult
from sim.sweep.statistics import CONFIDENCE, MIN_WINDOWS, NO_ESTIMATE, half_width

#: Numbers from here on are shown by their leading digits.
HUGE = 1e6
#: Characters between two columns, and fewest characters of a name.
GUTTER, LEAST_NAME = 2, 20
#: Characters of a name in a figure.
MAX_NAME = 44
#: Most digits after the point beside an error.
MAX_DECIMALS = 7
#: Marks in front of a recipe where a report has points of earlier runs too.
NEW_MARK, EARLIER_MARK = "* ", "  "


def value(point: PointResult, field: str) -> float | str | None:
    """Return what a column sorts by; ``None`` where the point has no such number."""
    column = COLUMNS[field]
    raw = getattr(point, field)
    found: float | str | None = column.summary(raw) if column.summary else raw
    return found


def cell(point: PointResult, field: str) -> str:
    """Return what a column shows of a point."""
    found = value(point, field)
    if found is None:
        return ""
    if isinstance(found, str):
        return printable(found)
    return _number(point, found, COLUMNS[field])


def _number(point: PointResult, found: float, column: Column) -> str:
    if column.error is None:
        return number(found, column.spec)
    if is_reference(point):
        return "reference"
    return with_error(found, interval(point, column.error), column.spec)


def number(found: float, spec: str) -> str:
    """Return a number by its format, a huge one by its leading digits."""
    return f"{found:{spec if abs(found) < HUGE else '.3g'}}"


def interval(point: PointResult, error: str) -> float | None:
    """Return half the width of the confidence interval that a standard error gives."""
    return half_width(getattr(point, error), point.windows)


def with_error(found: float, half: float | None, spec: str) -> str:
    """Return a number and its interval, both to two digits of the interval.

    Examples
    --------
    >>> with_error(0.03931, 0.00124, ".4f"), with_error(0.0001381, 0.0000125, ".4f")
    ('0.0393 ± 0.0012', '0.000138 ± 0.000013')
    >>> with_error(0.03931, None, "+.4f")
    '+0.0393'
    """
    if half is None or not math.isfinite(half) or not half or abs(found) >= HUGE:
        return number(found, spec)
    decimals = min(MAX_DECIMALS, max(0, 1 - math.floor(math.log10(half))))
    sign = "+" if spec.startswith("+") else ""
    return f"{found:{sign},.{decimals}f} ± {half:,.{decimals}f}"


def kl_text(point: PointResult) -> str:
    """Return a point's KL divergence with its interval."""
    return cell(point, "kl_mean")


def loss_text(point: PointResult) -> str:
    """Return the difference to the float model's loss with its interval."""
    return cell(point, "delta_nats")


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


def print_table(
    results: Sequence[PointResult], console: Console, earlier: Sequence[PointResult] = ()
) -> None:
    """Print the points by KL divergence, between warnings and notes.

    A terminal gets the first columns that fit it, and a line that names the others; a file or a
    pipe gets every column of every row on one line.
    """
    rows = rank(results, earlier)
    points = [row.point for row in rows]
    _print_lines(warnings(points), console, style="bold")
    fields = fitting_fields(points, console.width) if console.is_terminal else list(COLUMNS)
    if console.is_terminal:
        console.print(_rich_table(rows, fields))
    else:
        _print_lines(_plain_lines(rows, fields), console)
    _print_lines([*notes(points), *_marks(rows), *_left_out(fields)], console, style="dim")


def _print_lines(lines: Sequence[str], console: Console, style: str = "") -> None:
    for line in lines:
        console.print(
            line, style=style, highlight=False, markup=False, soft_wrap=not console.is_terminal
        )


def _rich_table(rows: Sequence[Row], fields: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GUTTER, 0, 0), header_style="bold")
    for field in fields:
        is_name = field == "recipe"
        table.add_column(
            COLUMNS[field].title, justify="left" if is_name else "right", no_wrap=not is_name
        )
        table.columns[-1].overflow = "fold"
    for row in rows:
        style = "bold" if row.on_front else ""
        table.add_row(*(Text(text) for text in _cells(row, rows, fields)), style=style)
    return table


def _plain_lines(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    lines = [[COLUMNS[field].title for field in fields]]
    lines += [_cells(row, rows, fields) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    gap = " " * GUTTER
    return [
        gap.join(
            text.ljust(width) if field in ("recipe", "definition") else text.rjust(width)
            for text, width, field in zip(line, widths, fields, strict=True)
        ).rstrip()
        for line in lines
    ]


def _cells(row: Row, rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    cells = [cell(row.point, field) for field in fields]
    if has_earlier(rows):
        cells[0] = (NEW_MARK if row.is_new else EARLIER_MARK) + cells[0]
    return cells


def has_earlier(rows: Sequence[Row]) -> bool:
    """Whether the report has points of earlier runs, so that the new ones are marked."""
    return not all(row.is_new for row in rows)


def fitting_fields(points: Sequence[PointResult], width: int) -> list[str]:
    """Return the first columns that fit ``width``; a long name may wrap."""
    widths = {
        field: max(len(column.title), *(len(cell(p, field)) for p in points))
        for field, column in COLUMNS.items()
    }
    widths["recipe"] = min(widths["recipe"] + len(NEW_MARK), LEAST_NAME)
    fitting: list[str] = []
    for field, needed in widths.items():
        width -= needed + (GUTTER if fitting else 0)
        if width < 0 and len(fitting) >= 2:
            break
        fitting.append(field)
    return fitting


def _left_out(fields: Sequence[str]) -> list[str]:
    titles = [column.title for field, column in COLUMNS.items() if field not in fields]
    return [f"Not shown: {', '.join(titles)}; results.csv has every column."] if titles else []


def _marks(rows: Sequence[Row]) -> list[str]:
    if not has_earlier(rows):
        return []
    return [f"{NEW_MARK}this run; the other points are from earlier runs on the same text."]


def warnings(points: Sequence[PointResult]) -> list[str]:
    """Return what makes the comparison doubtful as a whole, to be shown above everything."""
    reference = next((p for p in points if is_reference(p)), None)
    if reference is None or not reference.is_worse_than_uniform:
        return []
    return [
        (
            f"The float32 model cannot read this text: its perplexity {reference.perplexity:,.4g} "
            f"is worse than the {reference.vocab_size:,} of a uniform guess over its vocabulary. "
            f"Differences on this text say nothing about formats; use a text that the model knows."
        )
    ]


def notes(points: Sequence[PointResult]) -> list[str]:
    """Return what must stand beside the numbers: the sample, the errors, notes of the model."""
    first = points[0]
    sample = f"{first.model} on {first.text}: {first.sampling}."
    calibrations = (
        f"Calibrated on {text}." for p in points if (text := p.provenance.get("calibration"))
    )
    lines = [sample, _errors(first), *calibrations, *_second_lines(points)]
    said = dict.fromkeys([*lines, *(n for p in points for n in p.notes)])
    return [printable(note) for note in [*said, *_unreadable(points)]]


def _second_lines(points: Sequence[PointResult]) -> list[str]:
    """Return the divergence of each point on the second text, one line a text."""
    lines: dict[str, list[str]] = {}
    for point in sorted(points, key=lambda p: p.second.kl_mean if p.second else 0.0):
        second = point.second
        if second is None or is_reference(point):
            continue
        half = half_width(second.kl_mean_se, second.windows)
        size = f"On a second text, {second.text}, {second.windows} windows, KL in nats: "
        lines.setdefault(size, []).append(
            f"{point.recipe} {with_error(second.kl_mean, half, '.4f')}"
        )
    return [start + "; ".join(parts) + "." for start, parts in lines.items()]


def _errors(point: PointResult) -> str:
    if point.windows < MIN_WINDOWS:
        needed = MIN_WINDOWS * point.context
        return f"{NO_ESTIMATE}; the order may be chance. Use --tokens {needed} or more."
    return (
        f"±: {CONFIDENCE:.0%} confidence interval over {point.windows} windows, Student's t with "
        f"{point.windows - 1} degrees of freedom."
    )


def _unreadable(points: Sequence[PointResult]) -> list[str]:
    worse = [p.recipe for p in points if not is_reference(p) and p.is_worse_than_uniform]
    size = f"{points[0].vocab_size:,}"
    return [f"Worse than a uniform guess (perplexity {size}): {', '.join(worse)}."] if worse else []


def markdown_table(results: Sequence[PointResult]) -> str:
    """Return the results by KL divergence as a Markdown table of all columns."""
    aligned = ["---" if f in ("recipe", "definition") else "---:" for f in COLUMNS]
    rows = [[column.title for column in COLUMNS.values()], aligned]
    rows += [[_markdown(cell(row.point, f)) for f in COLUMNS] for row in rank(results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _markdown(text: str) -> str:
    """Escape what Markdown would take for more than text."""
    special = str.maketrans({c: f"\\{c}" for c in "\\|`*[]~"})
    return escape(text, quote=False).translate(special)
