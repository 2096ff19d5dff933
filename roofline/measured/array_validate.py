"""Score the cycles of accelerators that other people built against published measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median

from roofline.accelerator.array_time import array_time
from roofline.measured.array_rows import ArrayRow, read_array_rows
from roofline.measured.table import Unmatched


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayScored:
    """A measured row, its predicted cycles and their bound."""

    row: ArrayRow
    cycles: int
    bound_cycles: float

    @property
    def ratio(self) -> float:
        """Expected over measured speed."""
        return self.row.measured_cycles / self.cycles

    @property
    def error(self) -> float:
        """Relative error of the predicted cycles."""
        return abs(self.cycles / self.row.measured_cycles - 1.0)

    @property
    def holds(self) -> bool:
        """Whether the measured run takes at least the cycles of the bound."""
        return self.row.measured_cycles >= self.bound_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayScore:
    """Summary of the rows of one machine, or of all."""

    machine: str
    rows: int
    holds: float
    median_ratio: float
    median_error: float
    worst_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayValidation:
    """All scored and unmatched rows of one table."""

    scored: tuple[ArrayScored, ...]
    unmatched: tuple[Unmatched, ...]

    @property
    def scores(self) -> list[ArrayScore]:
        """One summary for each machine, then one for all rows."""
        machines = dict.fromkeys(one.row.machine.name for one in self.scored)
        groups = [
            (name, [one for one in self.scored if one.row.machine.name == name])
            for name in sorted(machines)
        ]
        return [_score(name, rows) for name, rows in [*groups, ("all", list(self.scored))]]

    @property
    def worst(self) -> list[ArrayScored]:
        """Rows with the largest errors first."""
        return sorted(self.scored, key=lambda one: -abs(log(one.ratio)))


def validate_arrays(path: Path) -> ArrayValidation:
    """Score a CSV table of :mod:`roofline.measured.array_rows`.

    Raises
    ------
    ValueError
        The file is not such a table, or none of its rows could be matched.
    """
    scored: list[ArrayScored] = []
    unmatched: list[Unmatched] = []
    for row in read_array_rows(path):
        if isinstance(row, Unmatched):
            unmatched.append(row)
            continue
        try:
            times = [array_time(row.machine, one) for one in row.products]
        except ValueError as error:
            unmatched.append(Unmatched(line=row.line, reason=str(error)))
            continue
        scored.append(
            ArrayScored(
                row=row,
                cycles=sum(one.cycles for one in times),
                bound_cycles=sum(one.bound_cycles for one in times),
            )
        )
    if not scored:
        first = f": line {unmatched[0].line}, {unmatched[0].reason}" if unmatched else ""
        raise ValueError(f"{path}: no row could be matched{first}")
    return ArrayValidation(scored=tuple(scored), unmatched=tuple(unmatched))


def _score(name: str, rows: Sequence[ArrayScored]) -> ArrayScore:
    errors = [one.error for one in rows]
    return ArrayScore(
        machine=name,
        rows=len(rows),
        holds=sum(one.holds for one in rows) / len(rows),
        median_ratio=median(one.ratio for one in rows),
        median_error=median(errors),
        worst_error=max(errors),
    )
