"""Groups in one of several formats against the schemes of the candidates alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.ternary.reference import flushed, tree_sum

RNG = np.random.default_rng(4)
X = np.float32(RNG.standard_t(3, (5, 300)) * np.exp2(RNG.integers(-6, 6, (5, 1))))
X[1, :128] = 0
SCHEMES = [parse_scheme(name) for name in ("ant4-mixed", "ant3-mixed:g64")]


@pytest.mark.parametrize(
    "scheme",
    [SCHEMES[0], pytest.param(SCHEMES[1], marks=pytest.mark.slow)],
    ids=lambda scheme: scheme.name,
)
def test_every_group_is_that_of_its_best_candidate(scheme):
    q = quantize(jnp.asarray(X), scheme)
    values, chosen = np.asarray(q.dequantize()), np.asarray(q.arrays["selectors"])
    tried = [np.asarray(fake_quantize(jnp.asarray(X), one)) for one in scheme.schemes]
    for row in range(len(X)):
        for group, start in enumerate(range(0, X.shape[1], scheme.size)):
            part = slice(start, start + scheme.size)
            errors = [
                tree_sum(flushed(((back[row, part] - X[row, part]) ** 2).tolist()))
                for back in tried
            ]
            assert chosen[row, group] == int(np.argmin(errors))
            assert np.array_equal(values[row, part], tried[chosen[row, group]][row, part])
    assert set(np.unique(chosen)) == {0, 1}


@pytest.mark.slow
def test_results_are_the_same_however_they_are_run():
    scheme, x = SCHEMES[0], jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, scheme))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, scheme) + 0.0) * 1.0)
    mapped = jax.vmap(lambda row: fake_quantize(row[None], scheme)[0])
    for found in (larger(x), mapped(x)):
        assert np.array_equal(np.asarray(found), expected)


def test_a_group_with_nan_is_poisoned():
    x = X.copy()
    x[2, 5], x[3, 200] = np.nan, -np.inf
    q = quantize(jnp.asarray(x), SCHEMES[0])
    bad = np.zeros(x.shape, bool)
    bad[2, :128] = bad[3, 128:256] = True
    assert np.array_equal(np.isnan(np.asarray(q.dequantize())), bad)
    assert not np.asarray(q.codes)[bad].any()


def test_a_bit_says_which():
    assert SCHEMES[0].bits_per_weight((64, 4096)) == 4 + 17 / 128
