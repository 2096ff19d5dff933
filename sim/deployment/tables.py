"""Scenarios as a table for people and as records for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    RenderableType,
)
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from roofline.measured.validate import Validation
from sim.deployment.scenario import Scenario

MS = 1e3


HEADINGS = (
    "model", "machine", "format", "TTFT ms (bound)", "TPOT ms (bound)", "tokens/s", "limit",
    "weights GB", "KV GB", "of GB", "batch fits", "J/token", "$/Mtok",
)  # fmt: skip
NAMES = ("model", "machine", "format")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """A table, or the same numbers one below the other where it is too wide for the window."""

    wide: Table
    narrow: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        needed = Measurement.get(console, options.update(width=UNLIMITED), self.wide).maximum
        yield self.wide if needed <= options.max_width else self.narrow


UNLIMITED = 10_000


def scenarios_table(scenarios: Sequence[Scenario]) -> RenderableType:
    """Return one row for each combination: expectation, and the bound in brackets."""
    wide = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    narrow = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    narrow.add_column(no_wrap=True, style="bold")
    narrow.add_column(overflow="fold")
    for heading in HEADINGS:
        justify: JustifyMethod = "left" if heading in NAMES else "right"
        wide.add_column(heading, justify=justify, no_wrap=True)
    for one in scenarios:
        cells = _cells(one)
        wide.add_row(*cells)
        for heading, text in zip(HEADINGS, cells, strict=True):
            narrow.add_row(heading, text)
        narrow.add_row()
    notes = dict.fromkeys(
        f"{one.model} on {one.machine} in {one.format}: {note}" if "fit" in note else note
        for one in scenarios
        for note in one.notes
    )
    return Group(_Fitting(wide=wide, narrow=narrow), *(Text(f"note: {note}") for note in notes))


def _cells(one: Scenario) -> list[str]:
    capacity = one.memory.capacity_bytes
    cost = one.cost_usd_per_mtok
    return [
        one.model,
        one.machine,
        one.format,
        f"{one.ttft_s[1] * MS:.4g} ({one.ttft_s[0] * MS:.4g})",
        f"{one.tpot_s[1] * MS:.4g} ({one.tpot_s[0] * MS:.4g})",
        f"{one.tokens_per_s:.4g}" if one.fits else "does not fit",
        f"{one.prefill_bound}/{one.decode_bound}",
        f"{one.memory.weight_bytes / 1e9:.3f}",
        f"{one.memory.kv_bytes / 1e9:.3f}",
        f"{capacity / 1e9:.4g}" if capacity < 1e15 else "-",
        str(one.largest_batch) if capacity < 1e15 else "-",
        f"{one.energy_per_token_j:.3g}",
        f"{cost:.3g}" if cost is not None else "-",
    ]


def record(one: Scenario) -> dict[str, Any]:
    """Return a scenario as plain data; units are in the names."""
    request, memory = one.request, one.memory
    capacity = memory.capacity_bytes
    return {
        "model": one.model,
        "machine": one.machine,
        "format": one.format,
        "batch": request.batch,
        "prompt_tokens": request.prompt,
        "output_tokens": request.output,
        "fits": one.fits,
        "path": one.path,
        "ttft_s": {"bound": one.ttft_s[0], "expected": one.ttft_s[1]},
        "tpot_s": {
            "bound": one.tpot_s[0],
            "expected": one.tpot_s[1],
            "low": one.tpot_range_s[0],
            "high": one.tpot_range_s[1],
        },
        "prefill_tokens_per_s": request.batch * request.prompt / one.ttft_s[1],
        "decode_tokens_per_s": one.tokens_per_s,
        "output_tokens_per_s": one.output_tokens_per_s,
        "limit": {"prefill": one.prefill_bound, "decode": one.decode_bound},
        "weight_bytes": memory.weight_bytes,
        "kv_bytes": memory.kv_bytes,
        "activation_bytes": memory.activation_bytes,
        "capacity_bytes": capacity if capacity < 1e15 else None,
        "largest_batch": one.largest_batch,
        "equal_context_tokens": one.equal_context if one.equal_context < inf else None,
        "energy_per_token_j": {
            "nominal": one.energy_per_token_j,
            "low": one.energy_range_j[0],
            "high": one.energy_range_j[1],
            **one.energy_j,
        },
        "cost_usd_per_mtok": one.cost_usd_per_mtok,
        "operators": [
            {
                "name": point.name,
                "phase": point.phase,
                "ops": point.ops,
                "traffic_bytes": point.traffic_bytes,
                "time_s": point.time_s,
                "limit": point.bound,
                "path": point.path,
                **({} if point.utilization is None else {"utilization": point.utilization}),
            }
            for point in one.points
        ],
        "notes": list(one.notes),
    }


def validation_table(found: Validation) -> RenderableType:
    """Return scores by kind, phase and path, the worst rows, and what could not be matched."""
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
