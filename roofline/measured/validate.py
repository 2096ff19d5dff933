"""Score predictions against measured speeds, and list the largest errors."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

import numpy as np

from roofline.kernels.paths import weight_path
from roofline.measured.engines import engine_aliases
from roofline.measured.rows import request_limits, request_rates
from roofline.measured.table import MeasuredPoint, Unmatched, read_points
from roofline.time.serving import Request
from roofline.workload.memory import largest_batch, memory_use
from roofline.workload.setup import Setup

#: Rows with the largest errors that a report names.
WORST = 8
#: Parts of a model that engines split over machines, by the way of sharing.
SPLITS = {"pipeline": "layers", "rows": "rows of weights"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A measured row and its prediction; rates in tokens/s."""

    point: MeasuredPoint
    path: str
    bound: float
    expected: float
    #: Expected limit of the step that the row measures.
    limit: str
    setup: Setup
    request: Request

    @property
    def holds(self) -> bool:
        """Whether the measured rate stays below the bound."""
        return self.point.tokens_per_s <= self.bound

    @property
    def ratio(self) -> float:
        """Expected over measured rate."""
        return self.expected / self.point.tokens_per_s

    @property
    def error(self) -> float:
        """Relative error of the expectation."""
        return abs(self.ratio - 1.0)

    @property
    def group(self) -> tuple[str, str, str]:
        """Kind of machine, phase and path."""
        return self.point.found.machine.kind, self.point.phase, self.path

    @property
    def reason(self) -> str:
        """Facts of the prediction that could explain the error."""
        point = self.point
        words = [f"{self.limit}-bound, {self.path} path"]
        if not self.holds:
            words.append(
                f"{point.tokens_per_s / self.bound:.2f} times the bound: bytes or bandwidth"
            )
        if point.engine.until is not None:
            words.append(point.engine.name)
        if point.parallel in SPLITS and point.found.count > 1:
            words.append(f"{SPLITS[point.parallel]} split over machines")
        if point.is_generic:
            words.append(f"{point.shape.title} in place of an unknown model")
        missing = memory_use(
            self.setup, batch=self.request.batch, length=self.request.length, new=1
        ).missing_bytes
        if missing:
            words.append(f"{missing / 1e9:.3g} GB more than the memory holds")
        if point.prompt + point.output > point.shape.max_context:
            words.append(f"longer than the context of {point.shape.max_context}")
        if point.found.machine.unconfirmed:
            words.append("unconfirmed numbers of the machine")
        return "; ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Summary of one group of rows."""

    group: tuple[str, str, str]
    rows: int
    #: Share of rows that stay below the bound.
    holds: float
    median_ratio: float
    #: Tenth and ninetieth percentile of the ratios.
    low_ratio: float
    high_ratio: float
    mean_error: float
    p90_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All scored and unmatched rows of one table."""

    scored: tuple[Scored, ...]
    unmatched: tuple[Unmatched, ...]

    @property
    def scores(self) -> list[Score]:
        """One summary for each kind, phase and path, then for each kind and phase."""
        groups: dict[tuple[str, str, str], list[Scored]] = {}
        for row in self.scored:
            groups.setdefault(row.group, []).append(row)
            groups.setdefault((*row.group[:2], "all"), []).append(row)
        return [_score(group, groups[group]) for group in sorted(groups)]

    @property
    def worst(self) -> list[Scored]:
        """Rows with the largest errors; upper-bound checks have none."""
        rows = [row for row in self.scored if row.point.phase != "e2e_max"]
        return sorted(rows, key=lambda row: -abs(float(np.log(row.ratio))))[:WORST]


def validate(path: Path, aliases: Path | None = None) -> Validation:
    """Score a CSV table of measured points.

    Parameters
    ----------
    aliases
        A TOML table of engines as ``roofline/measured/engines.toml``, asked before the built-in.

    Raises
    ------
    ValueError
        The file is not such a table, or none of its rows could be matched.
    """
    unmatched: list[Unmatched] = []
    groups: dict[Hashable, list[MeasuredPoint]] = {}
    for point in read_points(path, engine_aliases(aliases)):
        if isinstance(point, Unmatched):
            unmatched.append(point)
        else:
            groups.setdefault((point.phase, *_alike(point)), []).append(point)
    scored: list[Scored] = []
    for points in groups.values():
        for row in _score_points(points):
            if isinstance(row, Unmatched):
                unmatched.append(row)
            else:
                scored.append(row)
    if not scored:
        first = f": line {unmatched[0].line}, {unmatched[0].reason}" if unmatched else ""
        raise ValueError(f"{path}: no row could be matched{first}")
    scored.sort(key=lambda row: row.point.line)
    unmatched.sort(key=lambda row: row.line)
    return Validation(scored=tuple(scored), unmatched=tuple(unmatched))


def _alike(point: MeasuredPoint) -> tuple[Hashable, ...]:
    """Return a key of a row's setup; rows with equal words share their objects."""
    found = point.found
    objects = (point.shape, point.format, point.engine, point.bound_format, found.machine)
    return *map(id, objects), found.count, found.threads, point.parallel


def _score_points(points: Sequence[MeasuredPoint]) -> Iterator[Scored | Unmatched]:
    """Yield rows of one setup and phase with their predictions."""
    first = points[0]
    setup = Setup(
        shape=first.shape,
        format=first.format,
        machine=first.found.machine,
        engine=first.engine,
        machines=first.found.count,
        parallel=first.parallel,
        threads=first.found.threads,
    )
    limits = replace(setup, format=first.bound_format)
    rows: list[MeasuredPoint] = []
    most: list[Request] = []
    requests: list[Request] = []
    for point in points:
        batches = _batches(point, setup, limits)
        if batches is None:
            reason = "no sequence fits the memory that the weights leave"
            yield Unmatched(line=point.line, reason=reason)
            continue
        rows.append(point)
        for batch, into in zip(batches, (most, requests), strict=True):
            into.append(Request(batch=batch, prompt=point.prompt, output=point.output))
    if not rows:
        return
    bounds = request_rates(limits, most, first.phase, "bound")
    expected = request_rates(setup, requests, first.phase, "expected")
    reasons = request_limits(setup, requests, first.phase)
    path = weight_path(setup.machine, setup.format, setup.runtime).kind
    for point, request, bound, rate, limit in zip(
        rows, requests, bounds, expected, reasons, strict=True
    ):
        yield Scored(
            point=point,
            path=path,
            bound=bound,
            expected=rate,
            limit=limit,
            setup=setup,
            request=request,
        )


def _batches(point: MeasuredPoint, setup: Setup, limits: Setup) -> tuple[int, int] | None:
    """Return the sequences of the bound and of the expectation; None if no sequence fits."""
    if point.batch is not None:
        return point.batch, point.batch
    # A bound: all of the memory, and sequences that are half done on average.
    most = largest_batch(limits, length=point.prompt + (point.output + 1) // 2, usable=1.0)
    if most == 0:
        return None
    usual = max(1, largest_batch(setup, length=point.prompt + point.output))
    if point.most_sequences is not None:
        return min(most, point.most_sequences), min(usual, point.most_sequences)
    return most, min(usual, setup.runtime.server.largest_batch(setup.machine))


def _score(group: tuple[str, str, str], rows: Sequence[Scored]) -> Score:
    ratios = [row.ratio for row in rows]
    errors = [row.error for row in rows]
    low, high = np.percentile(ratios, [10, 90])
    return Score(
        group=group,
        rows=len(rows),
        holds=mean(row.holds for row in rows),
        median_ratio=median(ratios),
        low_ratio=float(low),
        high_ratio=float(high),
        mean_error=mean(errors),
        p90_error=float(np.percentile(errors, 90)),
    )
