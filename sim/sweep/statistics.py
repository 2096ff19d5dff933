"""Uncertainty of means over windows of text: standard errors, t intervals, paired tests, Holm.

Windows are the sampling unit: positions of one window share their context, so they count as one
measurement. With fewer than ``MIN_WINDOWS`` windows the error itself is too uncertain to be stated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Smallest number of windows for a standard error: 7 degrees of freedom.
MIN_WINDOWS = 8
#: Confidence level of every interval, and one minus the level of every test.
CONFIDENCE = 0.95
#: Text shown instead of an interval.
NO_ESTIMATE = f"no error estimate: fewer than {MIN_WINDOWS} windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over windows with its standard error; ``None`` with fewer than ``MIN_WINDOWS``."""

    mean: float
    error: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of values, one per window, and its standard error.

    Examples
    --------
    >>> estimate([1.0, 3.0] * 4)
    Estimate(mean=2.0, error=0.377...)
    >>> estimate([1.0, 3.0]).error is None
    True
    """
    array = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(array.mean())
        if len(array) < MIN_WINDOWS:
            return Estimate(mean=mean, error=None)
        return Estimate(mean=mean, error=float(array.std(ddof=1) / math.sqrt(len(array))))


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t distribution.

    Examples
    --------
    >>> round(t_quantile(1), 3), round(t_quantile(7), 3), round(t_quantile(31), 3)
    (12.706, 2.365, 2.04)
    """
    from scipy.special import stdtrit  # takes longer to import than everything else here

    return float(stdtrit(degrees, (1 + confidence) / 2))


def half_width(error: float | None, windows: int) -> float | None:
    """Return half the width of the confidence interval of a mean over ``windows`` windows."""
    return None if error is None else error * t_quantile(windows - 1)


def paired_p_value(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the two-sided p value of a paired t test of equal means.

    ``None`` without an error estimate, or if a value is not finite. p is 1 if all values are equal.
    """
    with np.errstate(invalid="ignore"):
        differences = np.subtract(first, second, dtype=np.float64)
    if len(differences) < MIN_WINDOWS or not np.isfinite(differences).all():
        return None
    found = estimate(differences.tolist())
    if not found.error:
        return float(found.mean == 0)
    from scipy.special import stdtr

    return float(2 * stdtr(len(differences) - 1, -abs(found.mean / found.error)))


def holm(p_values: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Return which hypotheses Holm's step-down procedure rejects.

    The chance of one false rejection or more among all of them is at most ``level``.
    Holm, Scand. J. Statist. 6 (1979), 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
