"""Scores of predictions against measured speeds, as tables for people and as plain data."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from roofline.measured.validate import Validation


def validation_table(found: Validation) -> RenderableType:
    """Return scores by kind, phase and path, the worst rows, and unmatched rows."""
    scores = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("kind", "phase", "path"):
        scores.add_column(heading)
    for heading in (
        "rows",
        "bound holds",
        "median ratio",
        "10 % .. 90 %",
        "mean error",
        "90 % error",
    ):
        scores.add_column(heading, justify="right")
    for score in found.scores:
        scores.add_row(
            *score.group,
            str(score.rows),
            f"{score.holds:.0%}",
            f"{score.median_ratio:.2f}",
            f"{score.low_ratio:.2f} .. {score.high_ratio:.2f}",
            f"{score.mean_error:.0%}",
            f"{score.p90_error:.0%}",
        )
    worst = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("line", "device", "model", "weights", "phase", "measured", "expected", "bound"):
        worst.add_column(heading, justify="right" if heading in NUMBERS else "left")
    worst.add_column("reason", overflow="fold")
    for row in found.worst:
        point = row.point
        worst.add_row(
            str(point.line),
            Text(point.device),
            Text(point.model),
            Text(point.weight_format),
            point.phase,
            f"{point.tokens_per_s:.4g}",
            f"{row.expected:.4g}",
            f"{row.bound:.4g}",
            row.reason,
        )
    missing = [Text(f"line {row.line}: {row.reason}") for row in found.unmatched]
    if missing:
        missing.insert(0, Text(f"\nNot matched: {len(missing)} rows"))
    return Group(
        scores, Text("\nratio: expected over measured; worst rows, in tokens/s:"), worst, *missing
    )


NUMBERS = ("line", "measured", "expected", "bound")


def validation_record(found: Validation) -> dict[str, Any]:
    """Return a validation as plain data."""
    return {
        "scores": [
            {
                "kind": score.group[0],
                "phase": score.group[1],
                "path": score.group[2],
                "rows": score.rows,
                "bound_holds": score.holds,
                "median_ratio": score.median_ratio,
                "p10_ratio": score.low_ratio,
                "p90_ratio": score.high_ratio,
                "mean_error": score.mean_error,
                "p90_error": score.p90_error,
            }
            for score in found.scores
        ],
        "rows": [
            {
                "line": row.point.line,
                "device": row.point.found.machine.name,
                "model": row.point.shape.name,
                "format": row.point.format.name,
                "phase": row.point.phase,
                "measured_tokens_per_s": row.point.tokens_per_s,
                "expected_tokens_per_s": row.expected,
                "bound_tokens_per_s": row.bound,
            }
            for row in found.scored
        ],
        "unmatched": [{"line": row.line, "reason": row.reason} for row in found.unmatched],
    }
