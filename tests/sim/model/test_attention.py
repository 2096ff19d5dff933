from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.model import attention as room
from sim.model.attention import BLOCK

OPTIONS = ("scale", "softcap", "window")
attention = partial(jax.jit, static_argnames=OPTIONS)(room.attention)
attention_of_traced_window = partial(jax.jit, static_argnames=OPTIONS[:2])(room.attention)


def attention_reference(q, k, v, *, scale, softcap=None, window=None):
    """The definition, one head and one query at a time, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    heads, count, size = q.shape
    out = np.empty((count, heads, size))
    for head in range(heads):
        group = head // (heads // len(k))
        for query in range(count):
            first = 0 if window is None else max(0, query - window + 1)
            seen = slice(first, query + 1)
            scores = scale * (k[group, seen] @ q[head, query])
            if softcap is not None:
                scores = softcap * np.tanh(scores / softcap)
            weights = np.exp(scores - scores.max())
            out[query, head] = weights @ v[group, seen] / weights.sum()
    return out.reshape(count, heads * size)


def random_heads(heads, kv_heads, count, size, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(heads, count, size), (kv_heads, count, size), (kv_heads, count, size)]
    return [jnp.asarray(spread * rng.standard_normal(s), jnp.float32) for s in shapes]


@pytest.mark.parametrize("count", [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize(
    "heads, kv_heads",
    [(6, 2), *(pytest.param(n, m, marks=pytest.mark.slow) for n, m in ((4, 4), (3, 1)))],
)
def test_is_the_definition(count, heads, kv_heads):
    q, k, v = random_heads(heads, kv_heads, count, 16)
    expected = attention_reference(q, k, v, scale=0.25)
    np.testing.assert_allclose(attention(q, k, v, scale=0.25), expected, atol=2e-6)


@pytest.mark.parametrize(
    "window",
    [
        1,
        BLOCK,
        BLOCK + 2,
        *(pytest.param(w, marks=pytest.mark.slow) for w in (3, BLOCK - 1, 10 * BLOCK)),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_window_counts_the_query_itself(window, traced):
    q, k, v = random_heads(4, 2, 2 * BLOCK + 3, 8)
    run = attention_of_traced_window if traced else attention
    expected = attention_reference(q, k, v, scale=0.3, window=window)
    np.testing.assert_allclose(run(q, k, v, scale=0.3, window=window), expected, atol=2e-6)


@pytest.mark.parametrize("window", [None, 20])
def test_softcap_bounds_scores(window):
    q, k, v = random_heads(4, 2, BLOCK + 9, 8, spread=5.0)
    options = {"scale": 0.5, "softcap": 4.0, "window": window}
    expected = attention_reference(q, k, v, **options)
    np.testing.assert_allclose(attention(q, k, v, **options), expected, atol=2e-5)
    uncapped = attention_reference(q, k, v, scale=0.5, window=window)
    assert np.abs(uncapped - expected).max() > 0.1


def test_large_scores_stay_finite():
    q, k, v = random_heads(2, 1, BLOCK + 3, 8, spread=60.0)
    expected = attention_reference(q, k, v, scale=1.0)
    got = np.asarray(attention(q, k, v, scale=1.0))
    # Scores reach thousands, where one rounding of a score moves a weight by a part in thousands.
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, atol=0.2)


def test_later_tokens_change_nothing():
    q, k, v = random_heads(4, 2, BLOCK + 20, 8)
    last = BLOCK + 3
    changed = [x.at[:, last:].set(jnp.nan) for x in (q, k, v)]
    want, got = attention(q, k, v, scale=1.0), attention(*changed, scale=1.0)
    np.testing.assert_array_equal(got[:BLOCK], want[:BLOCK])


def test_window_can_be_traced_under_jit_and_scan():
    q, k, v = random_heads(4, 2, 40, 8)

    def step(carry, window):
        return carry, room.attention(q, k, v, scale=1.0, window=window)

    windows = jnp.asarray([2, 40], jnp.int32)
    _, got = jax.jit(lambda w: jax.lax.scan(step, 0, w))(windows)
    for out, window in zip(got, [2, 40], strict=True):
        expected = attention_reference(q, k, v, scale=1.0, window=window)
        np.testing.assert_allclose(out, expected, atol=2e-6)
