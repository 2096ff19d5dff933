import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.sweep.statistics import (
    MIN_WINDOWS,
    Estimate,
    estimate,
    half_width,
    holm,
    paired_p_value,
    t_quantile,
)


@pytest.mark.parametrize(
    ("degrees", "confidence", "quantile"),
    [
        # One degree of freedom is the Cauchy distribution, two have a closed form too.
        (1, 0.95, math.tan(math.pi * 0.475)),
        (1, 0.5, 1.0),
        (2, 0.95, 0.95 * math.sqrt(2 / (1 - 0.95**2))),
        (10**8, 0.95, 1.959963985),
    ],
)
def test_quantiles_equal_closed_forms(degrees, confidence, quantile):
    assert t_quantile(degrees, confidence) == pytest.approx(quantile, rel=1e-7)


def test_the_error_of_a_mean_is_the_deviation_over_the_root_of_the_windows():
    # Four windows at 0.5 and four at 1.5: mean 1, variance 8 * 0.25 / 7.
    found = estimate([0.5, 1.5] * 4)
    assert found == Estimate(mean=1.0, error=pytest.approx(math.sqrt(2 / 7 / 8)))


@pytest.mark.parametrize("windows", range(1, MIN_WINDOWS))
def test_few_windows_have_no_error_estimate(windows):
    values = list(range(windows))
    assert estimate(values).error is None and half_width(None, windows) is None
    assert paired_p_value(values, [v + 1.0 for v in values]) is None


def test_infinite_windows_have_a_mean_and_no_finite_error():
    found = estimate([1.0] * 7 + [math.inf])
    assert found.mean == math.inf and found.error is not None and math.isnan(found.error)
    assert paired_p_value([1.0] * 7 + [math.inf], [1.0] * 8) is None


def test_the_paired_test_removes_what_windows_share():
    hard = np.arange(8.0)
    noise = np.array([1, -1, 1, -1, 1, -1, 1, -1.0])
    assert paired_p_value(hard, hard + 1 + 0.1 * noise) < 1e-6
    assert paired_p_value(hard, hard) == 1.0 and paired_p_value(hard, hard + 1) == 0.0
    # Differences of mean 1 and standard deviation sqrt(8/7) have a standard error of 1/sqrt(7), so
    # |t| = sqrt(7).
    p = paired_p_value(np.zeros(8), 1 + noise)
    assert t_quantile(7, 1 - p) == pytest.approx(math.sqrt(7))


def test_a_p_value_is_where_the_interval_touches_zero():
    first, second = np.zeros(9), np.array([1, 2, 0, 1, -1, 2, 0, 3, 1.0])
    found, p = estimate(second), paired_p_value(first, second)
    assert abs(found.mean) == pytest.approx(t_quantile(8, 1 - p) * found.error)


@given(st.lists(st.floats(0, 1), max_size=7))
def test_holm_is_closed_testing_with_bonferroni(p_values):
    """A hypothesis is rejected exactly if Bonferroni rejects every intersection that has it."""
    level, every = 0.05, range(len(p_values))
    subsets = [set(s) for n in every for s in itertools.combinations(every, n + 1)]
    is_rejected = {frozenset(s): min(p_values[i] for i in s) <= level / len(s) for s in subsets}
    expected = [all(r for s, r in is_rejected.items() if i in s) for i in every]
    assert holm(p_values, level) == expected
