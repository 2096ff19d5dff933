"""Refitted scales of ternary and binary weights: the least-squares solution, and never a loss."""

import numpy as np
import pytest
from _helpers.solvers import damped, layer

from numerics import SCHEMES, parse_scheme
from numerics.solvers.gptq import gptq
from numerics.solvers.hessian import output_error
from numerics.solvers.refit import can_refit


def test_every_ternary_and_binary_scheme_with_a_free_scale_is_refitted():
    names = {name for name, scheme in SCHEMES.items() if can_refit(scheme)}
    assert names == {"ternary", "twn", "bitnet-ternary", "int1", "tq1_0", "tq2_0"}


@pytest.mark.parametrize("name", ["ternary:channel:fp32", "ternary:g32", "int1:g32"])
def test_scales_are_the_least_squares_solution_for_the_codes(name):
    weight, hessian = layer()
    scheme, h = parse_scheme(name), damped(hessian)
    before, after = (gptq(weight, hessian, scheme, refit=r) for r in (False, True))
    assert (before.weight.codes == after.weight.codes).all()
    assert after.loss < before.loss
    values = np.asarray(after.weight.dequantize(), np.float64)
    assert after.loss == pytest.approx(output_error(values - weight, h), rel=1e-9)
    size = scheme.group_size or 64
    for row in range(24):
        signs = np.sign(values[row]).reshape(-1, size)
        places = np.arange(64).reshape(-1, size)
        design = np.zeros((64, len(signs)))
        for group, columns in enumerate(places):
            design[columns, group] = signs[group]
        root = np.linalg.cholesky(h)
        solved = np.linalg.lstsq(root.T @ design, root.T @ weight[row], rcond=None)[0]
        assert np.asarray(after.weight.scales[row], float) == pytest.approx(solved, rel=1e-3)


@pytest.mark.parametrize("name", ["bitnet-ternary", pytest.param("tq2_0", marks=pytest.mark.slow)])
def test_scales_of_tensors_and_of_blocks_are_refitted_in_their_stored_form(name):
    weight, hessian = layer(16, 256, tokens=800)
    scheme, h = parse_scheme(name), damped(hessian)
    before, after = (gptq(weight, hessian, scheme, refit=r) for r in (False, True))
    values = np.asarray(after.weight.dequantize(), np.float64)
    assert after.loss < before.loss
    assert after.loss == pytest.approx(output_error(values - weight, h), rel=1e-9)
    assert (np.sign(values) == np.sign(before.weight.dequantize())).all()
