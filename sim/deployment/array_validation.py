"""Scores of accelerators against published measurements, as a table and as plain data."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from roofline.measured.array_validate import ArrayScored, ArrayValidation

#: Rows with the largest errors that a report shows.
WORST = 8


def array_table(found: ArrayValidation) -> RenderableType:
    """Return scores by machine, the worst rows, and unmatched rows."""
    scores = _table("accelerator", numbers=("rows", "bound holds", "median ratio"))
    for heading in ("median error", "worst error"):
        scores.add_column(heading, justify="right")
    for score in found.scores:
        scores.add_row(
            score.machine,
            str(score.rows),
            f"{score.holds:.0%}",
            f"{score.median_ratio:.2f}",
            f"{score.median_error:.1%}",
            f"{score.worst_error:.0%}",
        )
    worst = _table("device", "work", numbers=("line", "measured", "expected", "bound", "error"))
    worst.add_column("kind")
    for one in found.worst[:WORST]:
        worst.add_row(
            Text(one.row.device),
            Text(one.row.work),
            str(one.row.line),
            f"{one.row.measured_cycles:,.0f}",
            f"{one.cycles:,}",
            f"{one.bound_cycles:,.0f}",
            f"{one.cycles / one.row.measured_cycles - 1:+.0%}",
            _kind(one),
        )
    missing = [Text(f"line {row.line}: {row.reason}") for row in found.unmatched]
    if missing:
        missing.insert(0, Text(f"\nNot matched: {len(missing)} rows"))
    return Group(
        scores,
        Text("\nratio: expected over measured speed; rows with the largest errors, in cycles:"),
        worst,
        *missing,
    )


def _kind(one: ArrayScored) -> str:
    assumed = ", ".join(one.row.machine.unconfirmed)
    return f"{one.row.kind}; not confirmed: {assumed}" if assumed else one.row.kind


def _table(*texts: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in texts:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def array_record(found: ArrayValidation) -> dict[str, Any]:
    """Return a validation as plain data."""
    return {
        "scores": [
            {
                "accelerator": score.machine,
                "rows": score.rows,
                "bound_holds": score.holds,
                "median_ratio": score.median_ratio,
                "median_error": score.median_error,
                "worst_error": score.worst_error,
            }
            for score in found.scores
        ],
        "rows": [
            {
                "line": one.row.line,
                "accelerator": one.row.machine.name,
                "work": one.row.work,
                "kind": one.row.kind,
                "measured_cycles": one.row.measured_cycles,
                "expected_cycles": one.cycles,
                "bound_cycles": one.bound_cycles,
            }
            for one in found.scored
        ],
        "unmatched": [{"line": row.line, "reason": row.reason} for row in found.unmatched],
    }
