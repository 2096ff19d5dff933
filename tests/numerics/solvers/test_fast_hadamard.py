"""Fast transforms against the matrix itself, and float32 results against scalar loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics.solvers.fast_hadamard import fast_hadamard, online_hadamard
from numerics.solvers.hadamard import additions, check_blocks, factor_size, hadamard, paley


def rows(width, count=5, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width))


@pytest.mark.parametrize("n", [1, 2, 8, 12, 48, 80, 576, 704])
def test_the_transform_is_the_matrix_over_the_root_of_its_order(n):
    x = rows(n)
    expected = x @ hadamard(n).T / np.sqrt(n)
    assert np.allclose(fast_hadamard(x, n), expected, rtol=0, atol=1e-13)


def test_the_vector_of_the_specification():
    expected = [12.72792206, -1.41421356, -2.82842712, 0, -5.65685425, 0, 0, 0]
    assert np.allclose(fast_hadamard(np.arange(1.0, 9.0)[None], 8)[0], expected, atol=1e-8)


def test_blocks_are_transformed_apart():
    x = rows(96)
    apart = fast_hadamard(x.reshape(-1, 24), 24).reshape(x.shape)
    assert np.array_equal(fast_hadamard(x, 24), apart)
    assert np.allclose((fast_hadamard(x, 24) ** 2).sum(1), (x**2).sum(1))


def scalar(row, n):
    """The definition, one rounded operation at a time."""
    order, power = factor_size(n)
    x, d = list(row), 1
    while d < power:
        for i in range(n):
            if not (i // order) & d:
                a, b = x[i], x[i + d * order]
                x[i], x[i + d * order] = a + b, a - b
        d *= 2
    signs = paley(order).astype(np.float32)
    factor, y = np.float32(1 / np.sqrt(n)), []
    for i in range(n):
        start = i - i % order
        total = signs[i % order, 0] * x[start]
        for k in range(1, order):
            total = total + signs[i % order, k] * x[start + k]
        y.append(total * factor)
    return np.array(y)


@pytest.mark.parametrize("n", [2, 16, 80, 96, 176])
@pytest.mark.parametrize("run", [online_hadamard, jax.jit(online_hadamard, static_argnums=1)])
def test_float32_results_are_those_of_the_definition_bit_for_bit(n, run):
    x = rows(n, 3).astype(np.float32)
    x[1] *= np.float32(2.0) ** np.arange(-60, n - 60, dtype=np.float32).clip(-60, 60)
    expected = np.stack([scalar(row, n) for row in x])
    assert np.array_equal(np.asarray(run(jnp.asarray(x), n)), expected)


def test_additions_are_those_of_the_definition():
    n, order = 704, 44  # 16 Sylvester indices: 4 stages
    assert additions(n) == n * 4 + n * (order - 1)


@pytest.mark.parametrize(
    ("width", "size", "message"),
    [
        (96, 64, "96 values can't be rotated in blocks of 64"),
        (96, 0, "96 values can't be rotated in blocks of 0"),
        (13696, 13696, "no Hadamard matrix of order 13696"),
    ],
)
def test_blocks_that_cannot_be_rotated_are_refused(width, size, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_blocks(width, size)
