"""Exact sums of groups against fractions."""

from fractions import Fraction

import numpy as np
import pytest

from numerics.pe.exact_product import exact_product

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("is_of_groups", [True, False])
def test_groups_are_rounded_once(is_of_groups):
    sizes = np.exp2(RANDOM.integers(-9, 9, (2, 4, 10)))
    a, w = np.round(RANDOM.normal(size=(2, 4, 10)) * sizes * 64) / 64
    scales = RANDOM.random((4, 3 if is_of_groups else 1)).astype(np.float32)
    token_scales = RANDOM.random(4).astype(np.float32)
    found = exact_product(a, w, group=4, scales=scales, token_scales=token_scales)
    for token, row in np.ndindex(found.shape):
        total = np.float32(0)
        for index, start in enumerate(range(0, 10, 4)):
            pairs = zip(a[token, start : start + 4], w[row, start : start + 4], strict=True)
            exact = sum(Fraction(float(x)) * Fraction(float(y)) for x, y in pairs)
            # The sum has fewer than 53 bits, so float64 holds it and only float32 rounds it.
            assert Fraction(float(exact)) == exact
            segment = np.float32(float(exact))
            total += segment * scales[row, index] if is_of_groups else segment
        total = total if is_of_groups else total * scales[row, 0]
        assert found[token, row] == total * token_scales[token]


def test_values_that_span_too_many_bits_are_refused():
    one = np.ones((1, 1), np.float32)
    a = np.array([[2.0**40, 2.0**-10]])
    for w, words in ((a, "don't fit in 64 bits"), (a * [[2.0**40, 1.0]], "more than 62 bits")):
        with pytest.raises(ValueError, match=words):
            exact_product(a, w, group=2, scales=one, token_scales=one[0])
