"""The asymmetric target: weights that best reproduce float outputs from quantized inputs."""

import numpy as np
import pytest

from numerics.solvers.target import asymmetric_target


def test_the_target_is_the_least_squares_solution_for_quantized_inputs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    xq = np.rint(2 * x) / 2
    w = rng.normal(size=(3, 6))
    target = asymmetric_target(w, xq.T @ xq, (x - xq).T @ xq, damping=0.0)
    best = np.linalg.lstsq(xq, x @ w.T, rcond=None)[0].T
    assert target == pytest.approx(best, rel=1e-9)


def test_equal_streams_leave_the_weights():
    w = np.ones((2, 4))
    assert (asymmetric_target(w, np.eye(4), np.zeros((4, 4))) == w).all()
