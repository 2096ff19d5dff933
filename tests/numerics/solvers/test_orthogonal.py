"""Cayley steps: orthogonal, downhill, and the transform of the definition."""

import numpy as np
import pytest

from numerics.solvers.orthogonal import cayley_step, orthogonality_error


def random_orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def test_many_large_steps_stay_orthogonal():
    random = np.random.default_rng(1)
    matrix = random_orthogonal(48)
    for _ in range(100):
        matrix = cayley_step(matrix, 10 * random.standard_normal((48, 48)), 1.5)
    assert orthogonality_error(matrix) < 1e-12


def test_a_step_is_the_fixed_point_of_the_public_code():
    # Y = X + a A (X + Y) / 2 for X = R^T and A of V = -G^T, iterated until it stands.
    random = np.random.default_rng(2)
    matrix, gradient, rate = random_orthogonal(6), random.standard_normal((6, 6)), 0.1
    mx = -gradient.T @ matrix
    w = mx - matrix.T @ (matrix @ mx) / 2
    w = w - w.T
    step = min(rate, 1 / (np.abs(w).sum(axis=0).max() + 1e-8))
    y = matrix.T
    for _ in range(200):
        y = matrix.T + step * w @ (matrix.T + y) / 2
    assert np.allclose(cayley_step(matrix, gradient, rate), y.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [1e-3, 1.5])
def test_the_size_of_a_step_is_bounded(rate):
    matrix = random_orthogonal(5)
    gradient = np.random.default_rng(3).standard_normal((5, 5))
    moved = [cayley_step(matrix, g, rate) - matrix for g in (gradient, 1e6 * gradient)]
    bounded = [np.abs(m).max() < 1 for m in moved]
    assert all(bounded)
    small = cayley_step(matrix, gradient, 1e-6) - matrix
    inner = matrix.T @ gradient
    assert np.allclose(small, -1e-6 * matrix @ (inner - inner.T) / 2, rtol=0, atol=1e-10)


def test_steps_find_the_nearest_orthogonal_matrix():
    # The maximum of tr(R^T T) is U V^T of T = U S V^T (the orthogonal Procrustes problem).
    target = np.random.default_rng(4).standard_normal((7, 7))
    left, _, right = np.linalg.svd(target)
    best = left @ right
    start = cayley_step(best, np.random.default_rng(5).standard_normal((7, 7)), 0.2)
    matrix = start
    for _ in range(300):
        matrix = cayley_step(matrix, -target, 0.1)
    assert np.abs(start - best).max() > 0.1 and np.allclose(matrix, best, atol=1e-6)


def test_a_stack_of_matrices_steps_one_by_one():
    random = np.random.default_rng(6)
    matrices = np.stack([random_orthogonal(4, seed) for seed in range(3)])
    gradients = random.standard_normal((3, 4, 4)) * np.array([1, 10, 100])[:, None, None]
    apart = [cayley_step(m, g, 1.0) for m, g in zip(matrices, gradients, strict=True)]
    assert np.allclose(cayley_step(matrices, gradients, 1.0), np.stack(apart), atol=1e-14)
