"""Factors of the Hessian: float64 accuracy, and damping when there are few calibration tokens."""

import numpy as np
import pytest

from numerics.solvers.hessian import column_order, factorize, output_error


def random_hessian(width=48, tokens=200, seed=0):
    x = np.random.default_rng(seed).normal(size=(tokens, width))
    return x.T @ x


@pytest.mark.parametrize("order", ["natural", "activation", "group"])
def test_the_factor_gives_the_damped_ordered_hessian_back(order):
    hessian = random_hessian()
    f = factorize(hessian, order=order, group_size=16)
    damped = hessian + 0.01 * np.diag(hessian).mean() * np.eye(48)
    assert f.root @ f.root.T == pytest.approx(damped[np.ix_(f.order, f.order)], rel=1e-12)
    assert (np.tril(f.root, -1) == 0).all()


def test_it_is_the_inverse_of_the_factor_that_the_paper_uses():
    hessian = random_hessian()
    f = factorize(hessian, damping=0.0, order="natural")
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    assert np.linalg.inv(f.root) == pytest.approx(upper, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_feedback_in_the_ldlq_form_gives_the_codes_of_gptq(seed):
    rng = np.random.default_rng(seed)
    w, hessian = rng.normal(size=(8, 32)), random_hessian(32, 100, seed)
    f = factorize(hessian, order="natural")
    q = np.zeros_like(w)
    for j in range(32):
        q[:, j] = np.rint(2 * (w[:, j] + (w - q)[:, :j] @ f.feedback[:j, j])) / 2
    u, moved = np.linalg.inv(f.root), w.copy()
    for j in range(32):
        rounded = np.rint(2 * moved[:, j]) / 2
        assert (rounded == q[:, j]).all()
        moved[:, j:] -= np.outer((moved[:, j] - rounded) / u[j, j], u[j, j:])


def test_a_ragged_group_stays_last_and_ties_go_to_the_lower_column():
    diagonal = np.array([1.0, 1.0, 2.0, 2.0, 9.0])
    assert column_order(diagonal, "group", 2).tolist() == [2, 3, 0, 1, 4]
    assert column_order(diagonal, "activation").tolist() == [4, 2, 3, 0, 1]


def test_few_tokens_are_damped_until_the_factor_exists():
    hessian = np.outer(np.ones(8), np.ones(8))
    assert factorize(hessian, damping=0.0).damping > 0
    assert factorize(hessian, damping=0.01).damping == 0.01


def test_no_token_at_all_leaves_every_column_dead():
    f = factorize(np.zeros((4, 4)))
    assert f.dead.all() and np.isfinite(f.root).all()


@pytest.mark.parametrize(
    ("hessian", "damping", "message"),
    [
        (np.full((2, 2), np.nan), 0.01, "entries that are not finite"),
        (np.eye(2), -1.0, "damping is -1; it must lie in 0..1"),
        (-np.eye(2), 0.01, "not positive definite even with damping"),
    ],
)
def test_bad_input_is_refused(hessian, damping, message):
    with pytest.raises(ValueError, match=message):
        factorize(hessian, damping=damping)


def test_order_by_groups_needs_groups():
    with pytest.raises(ValueError, match="needs a scheme with groups"):
        factorize(np.eye(4), order="group")


def test_the_output_error_is_that_of_the_outputs():
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(30, 6)), rng.normal(size=(4, 6))
    assert output_error(d, x.T @ x) == pytest.approx(((x @ d.T) ** 2).sum())
