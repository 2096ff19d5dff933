"""A study: the results of sweeps with a text about them, committed under ``reports/``."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.provenance import ReportProvenance
from sim.report.ranking import by_kl
from sim.report.table import kl_text, loss_text, markdown_table, notes, warnings
from sim.sweep.result import PointResult
from sim.sweep.statistics import estimate, half_width

#: Files of a sweep's report that a study keeps.
KEPT = ("loss.png", "sqnr.png", "results.csv", "report.html")
#: A sweep that quantizes no weights has no second one.
FIGURES = {
    "loss.png": "KL divergence against bits per weight",
    "sqnr.png": "Signal to quantization noise of each layer against the recipe's median",
}


@dataclass(frozen=True, slots=True)
class Points:
    """Results by recipe, for the sentences of a study."""

    results: Sequence[PointResult]

    def __getitem__(self, recipe: str) -> PointResult:
        return next(p for p in self.results if p.recipe == recipe)

    def loss(self, recipe: str) -> str:
        """Return a recipe's loss with its interval."""
        return loss_text(self[recipe])

    def kl(self, recipe: str) -> str:
        """Return a recipe's KL divergence with its interval."""
        return kl_text(self[recipe])

    def change(self, recipe: str, base: str) -> tuple[float, float | None]:
        """Return the KL divergence of a recipe minus that of another, and its interval.

        Windows are compared in pairs, so what they share does not count as error.
        """
        first, second = self[recipe], self[base]
        found = estimate(np.subtract(first.window_kl, second.window_kl).tolist())
        return found.mean, half_width(found.error, first.windows)

    def ranked(self, *recipes: str) -> str:
        """Return recipes from the smallest KL divergence to the largest, with both numbers."""
        points = by_kl(self[recipe] for recipe in recipes)
        return ", ".join(f"{p.recipe} ({kl_text(p)}; loss {loss_text(p)})" for p in points)


def write_study(
    directory: Path,
    *,
    title: str,
    text: str,
    results: Sequence[PointResult],
    provenance: ReportProvenance,
    sweep_directory: Path,
    kept: Sequence[str] = KEPT,
) -> Path:
    """Write ``README.md`` beside copies of the files in ``kept`` from the report of the sweep."""
    present = [name for name in kept if (sweep_directory / name).exists()]
    for name in present:
        shutil.copyfile(sweep_directory / name, directory / name)
    figures = "\n\n".join(f"![{text}]({name})" for name, text in FIGURES.items() if name in present)
    page = f"""# {title}

{text.strip()}

{figures}

## All results

{markdown_table(results)}
KL: mean divergence of the next-token distribution from that of float32. Loss: difference to float32
on the same windows. Bits per weight and MB: of the linear layers, side data included. The same
numbers in full precision are in [results.csv](results.csv), an interactive table is in
[report.html](report.html).

## How this was made

{"".join(f"- {note}" + chr(10) for note in [*warnings(results), *notes(results)])}
{provenance_table(provenance)}"""
    path = directory / "README.md"
    path.write_text(page, encoding="utf-8")
    return path


def provenance_table(provenance: ReportProvenance) -> str:
    """Return what is needed to make a study again as a Markdown table."""
    versions = ", ".join(f"{name} {number}" for name, number in provenance.versions.items())
    return f"""| | |
|---|---|
| command | `{provenance.command}` |
| versions | {versions} |
| machine | {provenance.machine} |
| seed | {"none used" if provenance.seed is None else provenance.seed} |
| model SHA-256 | `{provenance.hashes["model"]}` |
| text SHA-256 | `{provenance.hashes["text"]}` |
| made | {provenance.created} |
"""
