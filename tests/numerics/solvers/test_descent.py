"""Coordinate descent: a float64 reference of the visits, least squares, and never a loss."""

import numpy as np
import pytest
from _helpers.solvers import damped, layer

from numerics import parse_scheme
from numerics.solvers.gptq import gptq
from numerics.solvers.hessian import output_error

#: Two blocks of columns, the second of them padded.
WIDTH, GROUP = 160, 32
SCHEME = parse_scheme(f"int4:g{GROUP}:fp32")


def values(solution) -> np.ndarray:
    return np.asarray(solution.weight.dequantize(), np.float64)


def solved(weight, hessian, scheme=SCHEME, **options):
    return gptq(weight, hessian, scheme, clip=False, **options)


def row_losses(found, weight, h) -> np.ndarray:
    return np.einsum("oi,oi->o", (found - weight) @ h, found - weight)


def test_visits_of_codes_are_those_of_the_reference_in_float64():
    weight, hessian = layer(width=WIDTH)
    h = damped(hessian)
    first, found = (solved(weight, hessian, sweeps=n, refit=False) for n in (0, 2))
    scales = np.repeat(np.asarray(first.weight.scales, np.float64), GROUP, axis=1)
    q = values(first)
    for j in [*range(WIDTH)] * 2:
        target = q[:, j] - (q - weight) @ h[:, j] / h[j, j]
        q[:, j] = np.clip(np.rint(target / scales[:, j]), -7, 7) * scales[:, j]
    assert (first.weight.scales == found.weight.scales).all()
    assert values(found) == pytest.approx(q, abs=1e-6)
    assert (values(found) != values(first)).mean() > 0.02
    assert found.loss == pytest.approx(output_error(q - weight, h), rel=1e-5)


def test_each_scale_is_the_least_squares_solution_given_those_before_it():
    weight, hessian = layer(width=WIDTH)
    h = damped(hessian)
    kept, moved = (solved(weight, hessian, sweeps=1, refit=r) for r in (False, True))
    assert (kept.weight.codes == moved.weight.codes).all()
    q, scales = values(kept), np.array(kept.weight.scales, np.float64)
    for group in range(WIDTH // GROUP):
        columns = slice(group * GROUP, (group + 1) * GROUP)
        t = q[:, columns] / scales[:, group, None]
        others = (q - weight) @ h[:, columns] - q[:, columns] @ h[columns, columns]
        curve = np.einsum("oi,oi->o", t @ h[columns, columns], t)
        scales[:, group] = -np.einsum("oi,oi->o", t, others) / curve
        q[:, columns] = t * scales[:, group, None]
    assert np.asarray(moved.weight.scales) == pytest.approx(scales, rel=1e-4)


OTHERS = "int3:g32:asym int4-floatmin nvfp4 mxfp4 olive4 int4-2-of-4 q4_k nf4:g24"


@pytest.mark.parametrize(
    "name",
    [SCHEME.name, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS.split())],
)
def test_no_row_loses_and_the_loss_is_that_of_the_stored_tensor(name):
    weight, hessian = layer(width=256 if name == "q4_k" else WIDTH, tokens=800)
    scheme, h = parse_scheme(name), damped(hessian)
    before, after = (solved(weight, hessian, scheme, sweeps=n) for n in (0, 3))
    ratio = row_losses(values(after), weight, h) / row_losses(values(before), weight, h)
    assert ratio.max() < 1 + 1e-5
    assert ratio.mean() < 0.99
    assert after.loss == pytest.approx(output_error(values(after) - weight, h), rel=1e-4)


def test_a_dead_column_stays_zero():
    weight, hessian = layer(width=WIDTH)
    hessian[:, 5] = hessian[5] = 0
    assert (values(solved(weight, hessian, sweeps=1))[:, 5] == 0).all()
