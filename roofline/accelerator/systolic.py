"""Cycles of a matrix product on a systolic array, in closed form.

``(m, k) @ (k, n)`` runs on ``rows`` x ``columns`` PEs, each of which does one MAC a cycle. One
operand or the result stays in the PEs, a *fold* at a time; the other dimension is streamed through,
skewed by a cycle for each row and each column:

============  ============  ============  ========
stationary    along rows    along columns streamed
============  ============  ============  ========
``output``    m             n             k
``weight``    k             n             m
``input``     k             m             n
============  ============  ============  ========

A partly filled fold takes as long as a full one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stationary(StrEnum):
    """The operand, or the result, that stays in the PEs during a fold."""

    OUTPUT = "output"
    WEIGHT = "weight"
    INPUT = "input"


class Timing(StrEnum):
    """Rule for the cycles to stream ``t`` values through ``r`` rows and ``c`` columns of PEs."""

    #: ``Total Cycles`` of SCALE-Sim 3.0.0. A fold takes ``r + c + t - 2`` cycles, and
    #: ``r`` more to load a stationary operand; the last cycle has the number one less than the sum.
    SCALE_SIM = "scale-sim"
    #: Cycles as in SCALE-Sim's papers, arXiv:1811.02883: ``2 r + c + t - 2`` a fold; results that
    #: stayed in the PEs take ``r`` cycles to shift out.
    PAPER = "paper"
    #: Every PE has a second register: a fold is loaded while the one before streams, or shifted out
    #: while the one after does, so that a new one starts every ``max(t, r)`` cycles.
    DOUBLE_BUFFERED = "double-buffered"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicRun:
    """Cycles and buffer accesses of one matrix product on the array."""

    folds: int
    cycles: int
    #: Reads of values of the input and the weight from their buffers.
    input_reads: int
    weight_reads: int
    #: Writes of results; a fold that does not complete its sums writes partial results.
    output_writes: int
    #: Useful MACs over PEs times cycles.
    utilization: float
    #: Share of PEs in use, averaged over the folds.
    mapping_efficiency: float


def run_gemm(
    m: int,
    k: int,
    n: int,
    *,
    rows: int,
    columns: int,
    stationary: Stationary | str = Stationary.OUTPUT,
    timing: Timing | str = Timing.SCALE_SIM,
) -> SystolicRun:
    """Return the cycles and buffer accesses of ``(m, k) @ (k, n)`` on ``rows`` x ``columns`` PEs.

    ``input`` is the (m, k) operand, ``weight`` the (k, n) one. All counts equal SCALE-Sim 3.0.0's,
    except that it counts ``rows + columns`` idle slots a fold as writes of a stationary output.

    Examples
    --------
    Eight folds of 4 + 4 + 2 - 2 cycles:

    >>> run = run_gemm(16, 2, 8, rows=4, columns=4, stationary="output")
    >>> run.folds, run.cycles, run.input_reads, run.weight_reads, run.output_writes
    (8, 63, 64, 64, 128)
    """
    _check_positive(m=m, k=k, n=n, rows=rows, columns=columns)
    stationary, timing = Stationary(stationary), Timing(timing)
    along_rows, along_columns, streamed = {
        Stationary.OUTPUT: (m, n, k),
        Stationary.WEIGHT: (k, n, m),
        Stationary.INPUT: (k, m, n),
    }[stationary]
    row_folds, column_folds = ceil_div(along_rows, rows), ceil_div(along_columns, columns)
    folds = row_folds * column_folds
    cycles = _cycles(folds, streamed, rows=rows, columns=columns, at=(stationary, timing))
    input_reads, weight_reads, output_writes = {
        Stationary.OUTPUT: (m * k * column_folds, k * n * row_folds, m * n),
        Stationary.WEIGHT: (m * k * column_folds, k * n, m * n * row_folds),
        Stationary.INPUT: (m * k, k * n * column_folds, m * n * row_folds),
    }[stationary]
    return SystolicRun(
        folds=folds,
        cycles=cycles,
        input_reads=input_reads,
        weight_reads=weight_reads,
        output_writes=output_writes,
        # SCALE-Sim numbers cycles from 0: one MAC on one PE ends in cycle 0.
        utilization=m * k * n / (max(cycles, 1) * rows * columns),
        mapping_efficiency=along_rows * along_columns / (folds * rows * columns),
    )


def _cycles(
    folds: int, streamed: int, *, rows: int, columns: int, at: tuple[Stationary, Timing]
) -> int:
    stationary, timing = at
    skew = rows + columns - 2
    if timing is Timing.DOUBLE_BUFFERED:
        return rows + (folds - 1) * max(rows, streamed) + streamed + skew
    if timing is Timing.PAPER:
        return folds * (rows + streamed + skew)
    preload = 0 if stationary is Stationary.OUTPUT else rows
    return folds * (preload + streamed + skew) - 1


def ceil_div(a: int, b: int) -> int:
    """Return ``a / b`` rounded up.

    >>> ceil_div(8, 4), ceil_div(9, 4)
    (2, 3)
    """
    return -(-a // b)


def _check_positive(**sizes: int) -> None:
    if min(sizes.values()) > 0:
        return
    name = next(name for name, value in sizes.items() if value <= 0)
    raise ValueError(f"{name} is {sizes[name]}; sizes of a product and of an array are at least 1")
