"""One self-contained page: the answer, the figures, the table, and how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sim.report.pareto import headline, pareto_front
from sim.report.table import COLUMNS, by_loss, notes
from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProvenance:
    """What is needed to make a report again."""

    command: str
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    #: Seed of the noise on the source's grid, where there was any.
    seed: int | None
    machine: str
    created: str


STYLESHEET = """
:root { color-scheme: light; --line: #d9d9d9; --soft: #555; --shade: #f5f5f2; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.answer { font-size: 1.15rem; margin: .75rem 0; } .soft, dt { color: var(--soft); }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { position: sticky; top: 0; background: #fff; }
thead button { all: unset; cursor: pointer; } thead button:focus-visible { outline: 2px solid; }
tr.front td:first-child { font-weight: 600; } tbody tr:hover { background: var(--shade); }
code { background: var(--shade); padding: .15rem .35rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .875rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { .wide { overflow: visible; } thead th { position: static; } }
"""

#: Sorts the table by the column whose heading is clicked; without it the table is sorted by loss.
SCRIPT = """
document.querySelectorAll('thead button').forEach((button, column) => {
  let ascending = false;
  button.addEventListener('click', () => {
    ascending = !ascending;
    const body = document.querySelector('tbody');
    const value = row => row.cells[column].dataset.value;
    const order = (a, b) => {
      const x = parseFloat(value(a)), y = parseFloat(value(b));
      return isNaN(x) || isNaN(y) ? value(a).localeCompare(value(b)) : x - y;
    };
    const rows = [...body.rows].sort(order);
    body.append(...(ascending ? rows : rows.reverse()));
  });
});
"""


def page(
    results: Sequence[PointResult], figures: Mapping[str, str], provenance: ReportProvenance
) -> str:
    """Return the page; ``figures`` are SVG texts by their headings."""
    first = results[0]
    drawn = "".join(
        f'<h2>{escape(title)}</h2><div class="wide">{svg}</div>' for title, svg in figures.items()
    )
    said = "".join(f"<p>{escape(note)}</p>" for note in notes(results))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsim: {escape(first.model)}</title><style>{STYLESHEET}</style></head><body>"
        f"<h1>{escape(first.model)}: what number formats cost</h1>"
        f'<p class="answer">{escape(headline(results))}</p>'
        f'<div class="soft">{said}</div>{drawn}'
        f'<h2>All results</h2><div class="wide">{_table(results)}</div>'
        f"{_glossary()}<h2>How this was made</h2>{_provenance(provenance)}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _table(results: Sequence[PointResult]) -> str:
    points = by_loss(results)
    compared = [p for p in points if p.recipe != FLOAT32.name]
    front = pareto_front([(p.bits_per_weight, p.delta_nats) for p in compared])
    best = {id(compared[i]) for i in front}
    head = "".join(f"<th><button>{escape(heading)}</button></th>" for heading in COLUMNS)
    body = "".join(_row(point, on_front=id(point) in best) for point in points)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(point: PointResult, *, on_front: bool) -> str:
    cells = []
    for heading, show in COLUMNS.items():
        text = show(point)
        value = str(point.delta_nats) if heading == "loss (nats)" else text.replace(",", "")
        cells.append(f'<td data-value="{escape(value)}">{escape(text)}</td>')
    opening = '<tr class="front">' if on_front else "<tr>"
    return f"{opening}{''.join(cells)}</tr>"


def _glossary() -> str:
    return (
        '<p class="soft">Loss: mean negative log-likelihood less that of float32 on the same '
        "windows, with its standard error over windows. KL: divergence of the next-token "
        "distribution from that of float32. Top-1: positions whose likeliest token is that of "
        "float32. Bits per weight: of the linear layers, side data included. MB: the whole model, "
        "what is not quantized as float32. Bold: on the Pareto front.</p>"
    )


def _provenance(provenance: ReportProvenance) -> str:
    rows = {
        "command": f"<code>{escape(provenance.command)}</code>",
        "versions": escape(", ".join(f"{k} {v}" for k, v in provenance.versions.items())),
        "machine": escape(provenance.machine),
        "created": escape(provenance.created),
        "seed": "none used" if provenance.seed is None else str(provenance.seed),
    }
    rows |= {f"{escape(k)} SHA-256": escape(v) for k, v in provenance.hashes.items()}
    return f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in rows.items())}</dl>"
