"""One self-contained page: the answer, the figures, the table, and how it was made."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sim.provenance import ReportProvenance
from sim.report.headline import NEAR_NATS, answers
from sim.report.kinds import holds_source_grid, is_reference, keeps_weights
from sim.report.page_style import SCRIPT, STYLESHEET
from sim.report.ranking import LIKE_BITS, Row, candidates
from sim.report.table import cell, has_earlier, notes, printable, value
from sim.sweep.result import COLUMNS, PointResult
from sim.sweep.statistics import CONFIDENCE, MIN_WINDOWS

_INTERVAL = f"{CONFIDENCE:.0%} confidence interval"
#: Heading and explanation of each figure.
FIGURES = {
    "accuracy": (
        "Divergence from float32 against bits per weight",
        (
            f"Bars: {_INTERVAL} over windows. Strong: on the Pareto front, where nothing with as "
            "few bits is as near to float32. A point is on it if a paired t test finds it better "
            "than all with fewer bits, corrected for the number of formats (Holm)."
        ),
    ),
    "windows": (
        "Divergence from float32 along the text",
        (
            f"A dot a window; the band is the {_INTERVAL} of the mean. A comparison needs more "
            "than one format: repeat --format."
        ),
    ),
    "sqnr": (
        "Signal to quantization noise of each matrix",
        (
            "A row a recipe, the nearest to float32 first; a column a matrix. Colours: SQNR "
            "against the median of the row; blue is better, red is worse. A dot marks the worst "
            "matrix of the recipe. 6 dB are about one bit."
        ),
    ),
}
SOURCE_GRID = (
    "Recipes in grey reproduce the weights, because the weights lie on their grid already. Their "
    "loss says nothing of the format, so they take no part in the answer and the Pareto front."
)
LEGEND = (
    f"Bold: on the Pareto front of bits and KL. =: within the error of a format on the front with "
    f"as many bits, up to {LIKE_BITS}. A loss below zero is chance: this text happens to suit the "
    f"rounded weights."
)
#: Columns of the table; the definition of a recipe stands under its name.
TABLE = tuple(field for field in COLUMNS if field != "definition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """SVG of a figure, and of the same figure for a narrow screen."""

    wide: str
    narrow: str


def page(rows: Sequence[Row], drawings: Mapping[str, Drawing], provenance: ReportProvenance) -> str:
    """Return the page; ``drawings`` are by the names of ``FIGURES``."""
    points = [row.point for row in rows]
    model = escape(printable(points[0].model))
    answer, *more = answers(points)
    first, *others = (_figure(name, drawing) for name, drawing in drawings.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsim: {model}</title><style>{STYLESHEET}</style></head><body>"
        f"<h1>qsim: what number formats cost {model}</h1>"
        f'<p class="answer">{escape(printable(answer))}</p>{_paragraphs(more)}'
        f'<ul class="notes">{_notes(points)}</ul>{first}'
        f'<h2>All results</h2><div class="wide">{_table(rows)}</div>{_glossary(rows)}'
        f"{''.join(others)}<h2>Next steps</h2>{_next_steps(points)}"
        f"<h2>How this was made</h2>{_provenance(points, provenance)}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f'<p class="more">{escape(printable(line))}</p>' for line in lines)


def _notes(points: Sequence[PointResult]) -> str:
    said = notes(points) + ([SOURCE_GRID] if any(map(holds_source_grid, points)) else [])
    return "".join(f"<li>{escape(note)}</li>" for note in said)


def _figure(name: str, drawing: Drawing) -> str:
    title, caption = FIGURES[name]
    label = f'<svg role="img" aria-label="{escape(title)}" '
    pictures = "".join(
        f'<div class="picture {kind}">{svg.replace("<svg ", label, 1)}</div>'
        for kind, svg in (("large", drawing.wide), ("small", drawing.narrow))
    )
    return (
        f"<h2>{escape(title)}</h2><figure>{pictures}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(rows: Sequence[Row]) -> str:
    head = "".join(
        f'<th scope="col" title="{escape(COLUMNS[field].meaning)}">'
        f"<button>{escape(COLUMNS[field].title)}</button></th>"
        for field in TABLE
    )
    body = "".join(_row(row, is_marked=has_earlier(rows)) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Row, *, is_marked: bool) -> str:
    kinds = {
        "front": row.on_front,
        "source": holds_source_grid(row.point),
        "new": is_marked and row.is_new,
    }
    shown = {field: escape(cell(row.point, field)) for field in TABLE}
    shown["recipe"] = _name(row, is_new=kinds["new"])
    cells = (
        f'<td data-value="{_sort_key(row.point, field)}">{text}</td>'
        for field, text in shown.items()
    )
    names = " ".join(name for name, holds in kinds.items() if holds)
    return f'<tr class="{names}">{"".join(cells)}</tr>'


def _name(row: Row, *, is_new: bool) -> str:
    """Return a recipe's name, what it ties with, and its definition where the name is short."""
    name, definition = cell(row.point, "recipe"), cell(row.point, "definition")
    tie = f"= {printable(row.tied_with)}, within the error" if row.tied_with else ""
    lines = [text for text in (tie, definition if definition != name else "") if text]
    mark = "<b>new</b> " if is_new else ""
    return f"{mark}{escape(name)}" + "".join(f"<small>{escape(line)}</small>" for line in lines)


def _sort_key(point: PointResult, field: str) -> str:
    """Return what JavaScript sorts a cell by; nothing for NaN, which comes last."""
    key = value(point, field)
    if key is None or (isinstance(key, float) and math.isnan(key)):
        return ""
    if isinstance(key, float) and math.isinf(key):
        return "Infinity" if key > 0 else "-Infinity"
    return escape(printable(str(key)))


def _glossary(rows: Sequence[Row]) -> str:
    columns = COLUMNS.values()
    meanings = "; ".join(f"<b>{escape(c.title)}</b>: {escape(c.meaning)}" for c in columns)
    new = " New: measured or asked for by this run." if has_earlier(rows) else ""
    return (
        f'<p class="soft">{meanings}.</p><p class="soft">{escape(LEGEND + new)}</p>'
        '<p class="soft">Files beside this page: <a href="results.csv">results.csv</a> (this table '
        'in full precision), <a href="sqnr.csv">sqnr.csv</a> (every matrix).</p>'
    )


def _next_steps(points: Sequence[PointResult]) -> str:
    """Return a list of commands to run next, with their purposes."""
    first, steps = points[0], []
    if first.windows < MIN_WINDOWS:
        needed = MIN_WINDOWS * first.context
        steps.append((f"qsim sweep ... --tokens {needed}", "get an error estimate"))
    if all(is_reference(p) for p in points):
        steps.append(("qsim sweep --model MODEL --format fp4", "measure a format"))
    if name := _cheapest_named(points):
        steps += [
            (f"qsim quantize MODEL --format {name} --out packed", "store the model in that format"),
            (f"qsim formats show {name}", "see its values and how it stores a matrix"),
        ]
    items = (f"<li><code>{escape(line)}</code>: {escape(why)}</li>" for line, why in steps)
    return f"<ul>{''.join(items)}</ul>"


def _cheapest_named(points: Sequence[PointResult]) -> str:
    """Return the format with the fewest bits near float32, of recipes that only name a format."""
    named = [
        p
        for p in candidates(points)
        if not keeps_weights(p) and re.fullmatch(r"[\w:.-]+", p.recipe)
    ]
    near = [p for p in named if p.kl_mean <= NEAR_NATS] or named
    return min(near, key=lambda p: p.bits_per_weight).recipe if near else ""


def _provenance(points: Sequence[PointResult], provenance: ReportProvenance) -> str:
    first = points[0]
    rows = {
        "command": f"<code>{escape(provenance.command)}</code>",
        "sample": escape(
            f"{first.tokens:,} tokens in {first.windows} windows of {first.context:,}; "
            f"{first.scored:,} scored"
        ),
        "versions": escape(", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
        "machine": escape(provenance.machine),
        "created": escape(provenance.created),
        "seed": "none used" if provenance.seed is None else str(provenance.seed),
    }
    rows |= {f"{escape(k)} SHA-256": escape(v) for k, v in provenance.hashes.items()}
    return f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in rows.items())}</dl>"
