"""One self-contained page: the answer, the figures, the table, and how it was made."""

from collections.abc import Mapping, Sequence
from html import escape

from sim.provenance import ReportProvenance
from sim.report.headline import headline
from sim.report.kinds import holds_source_grid
from sim.report.page_style import SCRIPT, STYLESHEET
from sim.report.pareto import best
from sim.report.table import COLUMNS, by_loss, notes, printable
from sim.sweep.result import PointResult

#: Heading and explanation of each figure.
FIGURES = {
    "loss": (
        "Loss against bits per weight",
        (
            "Bars: one standard error over windows. Strong: on the Pareto front, where nothing "
            "else has as few bits and as little loss; a loss below zero counts as zero there. "
            "Where bars overlap, the order may be chance."
        ),
    ),
    "sqnr": (
        "Signal to quantization noise of each matrix",
        (
            "A row a recipe, the smallest loss first; a column a layer of the model. A dot marks "
            "the worst matrix of the recipe. 6 dB are about one bit."
        ),
    ),
}
SOURCE_GRID = (
    "Recipes in grey reproduce the weights, because the weights lie on their grid already. Their "
    "loss says nothing of the format, so they take no part in the answer and the Pareto front."
)


def page(
    results: Sequence[PointResult], drawings: Mapping[str, str], provenance: ReportProvenance
) -> str:
    """Return the page; ``drawings`` are SVG texts by the names of ``FIGURES``."""
    model = escape(printable(results[0].model))
    loss, *others = (_figure(name, svg) for name, svg in drawings.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsim: {model}</title><style>{STYLESHEET}</style></head><body>"
        f"<h1>qsim: what number formats cost {model}</h1>"
        f'<p class="answer">{escape(printable(headline(results)))}</p>'
        f'<ul class="notes">{_notes(results)}</ul>{loss}'
        f'<h2>All results</h2><div class="wide">{_table(results)}</div>{_glossary()}'
        f"{''.join(others)}<h2>How this was made</h2>{_provenance(results, provenance)}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _notes(results: Sequence[PointResult]) -> str:
    said = notes(results) + ([SOURCE_GRID] if any(map(holds_source_grid, results)) else [])
    return "".join(f"<li>{escape(note)}</li>" for note in said)


def _figure(name: str, svg: str) -> str:
    title, caption = FIGURES[name]
    drawing = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return (
        f'<h2>{escape(title)}</h2><figure><div class="wide">{drawing}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(results: Sequence[PointResult]) -> str:
    front = best(results)
    head = "".join(
        f'<th scope="col" title="{escape(column.meaning)}"><button>{escape(heading)}</button></th>'
        for heading, column in COLUMNS.items()
    )
    body = "".join(_row(point, on_front=point in front) for point in by_loss(results))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(point: PointResult, *, on_front: bool) -> str:
    cells = []
    for column in COLUMNS.values():
        value = column.value(point)
        key = "" if value is None else printable(str(value))
        cells.append(f'<td data-value="{escape(key)}">{escape(column.show(point))}</td>')
    kind = "front" if on_front else "source" if holds_source_grid(point) else ""
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def _glossary() -> str:
    meanings = "; ".join(f"<b>{escape(h)}</b>: {escape(c.meaning)}" for h, c in COLUMNS.items())
    return f'<p class="soft">{meanings}. Bold recipes: on the Pareto front.</p>'


def _provenance(results: Sequence[PointResult], provenance: ReportProvenance) -> str:
    first = results[0]
    rows = {
        "command": f"<code>{escape(provenance.command)}</code>",
        "sample": escape(
            f"{first.tokens:,} tokens in windows of {first.context:,}; {first.scored:,} scored"
        ),
        "versions": escape(", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
        "machine": escape(provenance.machine),
        "created": escape(provenance.created),
        "seed": "none used" if provenance.seed is None else str(provenance.seed),
    }
    rows |= {f"{escape(k)} SHA-256": escape(v) for k, v in provenance.hashes.items()}
    return f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in rows.items())}</dl>"
