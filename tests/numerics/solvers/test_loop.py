"""Units of several columns: the published vector, and the float64 reference."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from _helpers.solvers import layer, reference

from numerics.solvers.contract import Spread
from numerics.solvers.hessian import factorize
from numerics.solvers.loop import BLOCK, sweep

LEVELS = np.float32([-0.75, -0.25, 0.25, 0.75])
PAIRS = np.stack([np.repeat(LEVELS, 4), np.tile(LEVELS, 4)], axis=1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of columns take the nearest of sixteen pairs of values, in one of two metrics."""

    unit: ClassVar[int] = 2

    is_plain: bool
    # The other members of a rounder, which the loop does not use.
    scheme = "pairs"
    fit = spread = tensor = staticmethod(lambda *_: None)

    def round(self, target, shared, of_unit, root):
        del shared, of_unit
        metric = jnp.eye(2) if self.is_plain else root
        errors = jnp.einsum("ab,cao->cbo", metric, target - PAIRS[:, :, None])
        codes = jnp.argmin(jnp.sum(errors * errors, axis=1), axis=0)
        return codes, jnp.asarray(PAIRS)[codes].T


def solve(weight, hessian, is_plain, order="natural"):
    f = factorize(hessian, order=order, unit=2)
    units = map(jnp.asarray, f.units(2))
    found = sweep(jnp.asarray(weight.T[f.order]), Spread((), ()), *units, Pairs(is_plain))
    values = np.zeros(weight.shape)
    values[:, f.order] = np.asarray(found.values).T
    return np.asarray(found.codes), values, float(found.losses.sum()), f.order


def test_pairs_of_a_small_layer_have_the_published_codes(vector_b):
    weight, x, hessian = vector_b
    codes, values, _, _ = solve(weight, hessian, is_plain=True)
    assert codes.T.tolist() == [[1, 11, 1, 12], [7, 7, 7, 3], [13, 3, 4, 9]]
    assert ((x @ (values - weight).T) ** 2).mean() == pytest.approx(0.12946913, abs=5e-9)


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("order", ["natural", "activation"])
def test_units_equal_the_reference_in_float64(order, is_plain):
    # More columns than a block, and not a multiple of it.
    weight, hessian = layer(8, BLOCK + 32)
    weight *= 0.5
    _, values, loss, columns = solve(weight, hessian, is_plain, order)

    def round_pair(w, _, u):
        inverse = np.eye(2) if is_plain else np.linalg.inv(u)
        errors = (w[:, None] - PAIRS) @ inverse
        return PAIRS[(errors**2).sum(axis=2).argmin(axis=1)]

    expected, total = reference(weight, hessian, round_pair, columns, unit=2)
    assert (np.abs(values - expected) < 1e-6).mean() > 0.999
    assert loss == pytest.approx(total, rel=1e-3)


def test_the_metric_of_the_loss_is_better_than_the_plain_one():
    weight, hessian = layer(24, 64)
    weight *= 0.5
    assert solve(weight, hessian, False)[2] < solve(weight, hessian, True)[2]
