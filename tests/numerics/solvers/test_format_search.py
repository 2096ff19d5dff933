"""The search of formats and scales: a brute-force reference, and never more than other choices."""

import dataclasses

import numpy as np
import pytest
from _helpers.solvers import layer

from numerics import parse_scheme
from numerics.solvers.format_search import search_format

SCHEME = parse_scheme("llm-fp4")


def brute_force(weight, hessian, scheme):
    """Return the selector and the rows of values of least error, in float64."""
    formats = []
    for fmt in scheme.candidates:
        total, rows = 0.0, []
        for row in weight.astype(np.float64):
            tried = []
            for factor in scheme.trials:
                scale = np.float32(np.abs(row).max()) * np.float32(factor) / np.float32(fmt.max)
                values = np.array([fmt.round(float(x / scale)) for x in row]) * float(scale)
                difference = values - row
                tried.append((difference @ hessian @ difference, difference + row))
            error, values = min(tried, key=lambda pair: pair[0])
            total, rows = total + error, [*rows, values]
        formats.append((total, np.stack(rows)))
    selector = int(np.argmin([total for total, _ in formats]))
    return selector, formats[selector][1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_format_and_scales_are_those_of_a_search_of_all_pairs(seed):
    weight, hessian = layer(rows=4, width=8, tokens=40, seed=seed)
    scheme = dataclasses.replace(SCHEME, trials=SCHEME.trials[::12])
    found = search_format(weight, hessian, SCHEME, stride=12)
    selector, values = brute_force(weight, hessian, scheme)
    assert int(found.arrays["selector"][0]) == selector
    assert np.asarray(found.dequantize()) == pytest.approx(values, rel=1e-5)


def test_the_error_is_at_most_that_of_the_formats_own_choice_and_of_each_format():
    weight, hessian = layer(rows=4, width=8, tokens=40)

    def error(q) -> float:
        difference = np.asarray(q.dequantize(), np.float64) - weight
        return float(np.vdot(difference @ hessian, difference))

    best = error(search_format(weight, hessian, SCHEME, stride=12))
    # Without correlations the search is that of the format itself.
    assert best < 0.9 * error(search_format(weight, np.eye(8), SCHEME, stride=12))
    for fmt in SCHEME.candidates:
        alone = dataclasses.replace(SCHEME, candidates=(fmt,))
        assert best <= error(search_format(weight, hessian, alone, stride=12)) * (1 + 1e-6)


def test_a_row_of_zeros_has_scale_1():
    weight, hessian = layer(rows=4, width=8, tokens=40)
    weight[1] = 0
    found = search_format(weight, hessian, SCHEME, stride=12)
    assert float(found.arrays["scales"][1]) == 1
    assert (np.asarray(found.dequantize())[1] == 0).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("int4:g64:fp16", "^int4:g64:fp16 has no choice of a format"), ("nf4:g64", "take llm-fp4")],
)
def test_a_scheme_of_one_format_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        search_format(np.ones((2, 64), np.float32), np.eye(64), parse_scheme(name))
