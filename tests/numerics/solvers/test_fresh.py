"""Fresh groups: the published vector, the float64 reference, and what they refuse."""

import numpy as np
import pytest
from _helpers.solvers import damped, layer

from numerics import parse_scheme, quantize
from numerics.solvers.gptq import gptq
from numerics.solvers.hessian import factorize, output_error


def fresh(weight, hessian, scheme, order="natural", clip=False):
    return gptq(weight, hessian, parse_scheme(scheme), order=order, clip=clip, groups="fresh")


def test_groups_of_a_small_layer_have_the_published_scales(vector_b):
    weight, x, hessian = vector_b
    found = fresh(weight, hessian, "int3:g4:asym:fp32").weight
    scales, values = np.asarray(found.scales), np.asarray(found.dequantize(), np.float64)
    assert scales[:, 1] == pytest.approx([0.21822337, 0.16234641, 0.1895428], abs=1e-7)
    first, second = [0.64285713, 0, -0.64285713], [-0.1895428, -0.7581712, 0.3790856, -0.1895428]
    assert values[2] == pytest.approx([*first, 0.64285713, *second], abs=1e-6)
    assert ((x @ (values - weight).T) ** 2).mean() == pytest.approx(0.0140762, abs=2e-8)
    stale = gptq(weight, hessian, found.scheme, order="natural", clip=False).weight.scales
    assert stale[:, 1].tolist() == pytest.approx([0.21428571, 0.16071428, 0.19642857], abs=1e-7)


@pytest.mark.parametrize("order", ["natural", "group"])
def test_values_and_loss_equal_the_reference_in_float64(order):
    # The last group is shorter.
    weight, hessian = layer(width=80)
    columns = factorize(hessian, order=order, group_size=32).order
    u = np.linalg.cholesky(np.linalg.inv(damped(hessian)[np.ix_(columns, columns)])).T
    w, expected, loss = np.array(weight[:, columns], np.float64), np.zeros(weight.shape), 0.0
    for j, column in enumerate(columns):
        if j % 32 == 0:
            scale = np.abs(w[:, j : j + 32]).max(axis=1) / 7
        expected[:, column] = np.clip(np.rint(w[:, j] / scale), -7, 7) * scale
        e = (w[:, j] - expected[:, column]) / u[j, j]
        w[:, j:] -= np.outer(e, u[j, j:])
        loss += (e * e).sum()
    found = fresh(weight, hessian, "int4:g32:fp32", order)
    assert found.loss == pytest.approx(loss, rel=2e-3)
    values = np.asarray(found.weight.dequantize(), np.float64)
    assert (np.abs(values - expected) < 1e-4).mean() > 0.99


@pytest.mark.parametrize("name", ["bitmod-fp4:g32", "nvfp4"])
def test_fresh_groups_have_the_loss_of_their_codes(name):
    weight, hessian = layer()
    found = fresh(weight, hessian, name, "group", clip=True)
    difference = np.asarray(found.weight.dequantize(), np.float64) - weight
    assert found.loss == pytest.approx(output_error(difference, damped(hessian)), rel=1e-3)
    if name == "nvfp4":
        assert found.weight.tensor_scale == quantize(weight, found.weight.scheme).tensor_scale


@pytest.mark.parametrize(
    ("scheme", "order", "message"),
    [
        ("int4:g32", "activation", "take order=group or order=natural"),
        ("int4:channel", "natural", "int4:channel:fp16; take groups=static"),
        ("kmeans3", "natural", "kmeans3; take groups=static"),
        ("e8p", "natural", "e8p; take groups=static"),
    ],
)
def test_groups_that_cannot_be_fresh_are_refused(scheme, order, message):
    weight, hessian = layer()
    with pytest.raises(ValueError, match=message):
        fresh(weight, hessian, scheme, order)
