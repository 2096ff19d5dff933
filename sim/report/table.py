"""The results of a sweep as rows: on the terminal, as CSV and as Markdown."""

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult

#: Heading of each column and what it shows, the most needed first.
COLUMNS: dict[str, Callable[[PointResult], str]] = {
    "recipe": lambda p: p.recipe,
    "loss (nats)": lambda p: loss_text(p),
    "perplexity": lambda p: f"{p.perplexity:,.5g}",
    "bits/weight": lambda p: f"{p.bits_per_weight:.3f}",
    "KL mean": lambda p: f"{p.kl_mean:.4f}",
    "top-1": lambda p: f"{100 * p.top1_agreement:.1f} %",
    "KL p99": lambda p: f"{p.kl_p99:.3f}",
    "SQNR dB": lambda p: "" if not p.sqnr_db else f"{statistics.median(p.sqnr_db.values()):.1f}",
    "MB": lambda p: f"{p.model_bytes / 1e6:.1f}",
    "tokens/s": lambda p: f"{p.tokens_per_s:,.0f}",
    "wall s": lambda p: f"{p.wall_s:.1f}",
}
#: Columns that fit a terminal of so many characters.
NARROW = {80: 6, 100: 8}


def by_loss(results: Iterable[PointResult]) -> list[PointResult]:
    """Sort from the smallest loss to the largest, the float model first."""
    return sorted(results, key=lambda p: (p.recipe != FLOAT32.name, p.delta_nats))


def loss_text(point: PointResult) -> str:
    """Return the difference to the float model with its standard error."""
    if point.recipe == FLOAT32.name:
        return "reference"
    error = "" if point.delta_nats_se is None else f" ± {point.delta_nats_se:.4f}"
    return f"{point.delta_nats:+.4f}{error}"


def print_table(results: Sequence[PointResult], console: Console) -> None:
    """Print the results sorted by loss, as many columns as the console is wide, and the notes."""
    fitting = next((n for width, n in NARROW.items() if console.width <= width), len(COLUMNS))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in list(COLUMNS)[:fitting]:
        is_name = heading == "recipe"
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=not is_name)
    for point in by_loss(results):
        table.add_row(*(show(point) for show in list(COLUMNS.values())[:fitting]))
    console.print(table)
    for line in notes(results):
        console.print(line, style="dim", highlight=False, markup=False)


def notes(results: Sequence[PointResult]) -> list[str]:
    """Return what must stand beside the numbers: the sample, then the notes of the model."""
    first = results[0]
    sample = f"{first.model} on {first.text}: {first.sampling}."
    return list(dict.fromkeys([sample, *(note for p in results for note in p.notes)]))


def markdown_table(results: Sequence[PointResult]) -> str:
    """Return the results sorted by loss as a Markdown table of all columns."""
    rows = [list(COLUMNS), ["---", *["---:"] * (len(COLUMNS) - 1)]]
    rows += [
        [show(point).replace("|", r"\|") for show in COLUMNS.values()] for point in by_loss(results)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def results_csv(results: Sequence[PointResult]) -> str:
    """Return the results in full precision, SQNR by its median and its worst layer."""
    rows = [
        {
            "model": p.model,
            "recipe": p.recipe,
            "text": p.text,
            "tokens": p.tokens,
            "context": p.context,
            "perplexity": p.perplexity,
            "delta_nats": p.delta_nats,
            "delta_nats_se": p.delta_nats_se,
            "kl_mean": p.kl_mean,
            "kl_p99": p.kl_p99,
            "top1_agreement": p.top1_agreement,
            "bits_per_weight": p.bits_per_weight,
            "model_bytes": p.model_bytes,
            "sqnr_db_median": statistics.median(p.sqnr_db.values()) if p.sqnr_db else None,
            "sqnr_db_min": min(p.sqnr_db.values(), default=None),
            "tokens_per_s": p.tokens_per_s,
            "wall_s": p.wall_s,
        }
        for p in by_loss(results)
    ]
    return _csv(rows)


def sqnr_csv(results: Sequence[PointResult]) -> str:
    """Return the SQNR of every quantized layer, one a row."""
    rows = [
        {"recipe": p.recipe, "layer": layer, "sqnr_db": value}
        for p in by_loss(results)
        for layer, value in p.sqnr_db.items()
    ]
    return _csv(rows)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["recipe", "layer", "sqnr_db"])
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
