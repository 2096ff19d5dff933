"""LoRC: published vectors, and the weighted form against other matrices of its rank."""

import numpy as np
import pytest

from numerics.solvers.low_rank import low_rank_repair

W = np.array([[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]])
QUANTIZED = np.array(
    [[0.5, -0.25, 1 / 6, 1.0], [-1.5, 0.75, 0.25, -0.125], [0.02, 0.04, -4 / 75, 0.08]]
)
X = np.array(
    [[1, 0.1, -8, 0.5], [-0.7, 0.02, 5, 0.25], [0.3, -0.15, 2, -1], [0.9, 0.05, -6.5, 0.75]]
)


def test_the_plain_form_gives_the_published_product():
    u, v = low_rank_repair(W - QUANTIZED, 1)
    expected = [
        [0, 0, -0.0380298, -0.0117605],
        [0, 0, 0.05269207, 0.01629472],
        [0, 0, -0.00608477, -0.00188168],
    ]
    assert u @ v == pytest.approx(np.array(expected), abs=2e-8)


def test_full_rank_recovers_the_matrix():
    u, v = low_rank_repair(W - QUANTIZED, 2)
    assert QUANTIZED + u @ v == pytest.approx(W, abs=1e-12)


def test_the_weighted_form_gives_the_published_product_and_loss():
    hessian = 2 * X.T @ X
    damped = hessian + 0.01 * np.diag(hessian).mean() * np.eye(4)
    error = W - QUANTIZED

    def loss(e):
        return float(np.trace(e @ damped @ e.T))

    u, v = low_rank_repair(error, 1, hessian)
    expected = [
        [0, 0, -0.04249401, -0.01223093],
        [0, 0, 0.04926816, 0.01418071],
        [0, 0, -0.00679904, -0.00195695],
    ]
    assert u @ v == pytest.approx(np.array(expected), abs=2e-8)
    assert loss(error) == pytest.approx(1.11553233, rel=1e-6)
    assert loss(error - u @ v) == pytest.approx(0.00083427, rel=1e-4)
    plain_u, plain_v = low_rank_repair(error, 1)
    assert loss(error - plain_u @ plain_v) == pytest.approx(0.0092034, rel=1e-4)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_no_factor_has_is_refused(rank):
    with pytest.raises(ValueError, match=f"^a 3x4 matrix has ranks 1 to 3, not {rank}$"):
        low_rank_repair(W, rank)
