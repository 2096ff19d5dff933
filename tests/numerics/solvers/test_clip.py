"""Clip search and GPTQ under ZeroQuant-FP's constraints on scales, and of selectors."""

import numpy as np
import pytest
from _helpers.solvers import layer

from numerics import parse_scheme, quantize
from numerics.conventions.zeroquant import ZeroQuantM2
from numerics.solvers.clip import check_clip, clip_search
from numerics.solvers.gptq import gptq

W = np.float32([[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]])
#: Dequantized W under M1, and under M2 with the rows of W as the groups of one row.
CONSTRAINED = [
    [0.5, -0.25, 0.125, 1],
    [-1.5, 0.75, 0.25, -0.125],
    [0.0234375, 0.046875, -0.0625, 0.09375],
]
M1, M2 = parse_scheme("fp4_e2m1:g4:e8m0:rceil"), ZeroQuantM2(size=4)


def squared(q, weight, importance=1.0) -> float:
    return float((importance * (np.asarray(q.dequantize(), np.float64) - weight) ** 2).sum())


# Vectors of ZeroQuant-FP's constraints: inputs without correlation leave rounding to nearest.
@pytest.mark.parametrize("scheme", [M1, M2], ids=["m1", "m2"])
def test_gptq_keeps_the_constrained_scales_of_the_vectors(scheme):
    weight = W if scheme == M1 else W.reshape(1, -1)
    found = gptq(weight, np.eye(weight.shape[1]), scheme, clip=False).weight
    assert np.asarray(found.dequantize()).reshape(3, 4).tolist() == CONSTRAINED


@pytest.mark.parametrize("name", ["zqfp4-m2:g32", "fp4_e2m1:g32:e8m0:rceil"])
def test_scales_stay_constrained_with_correlated_inputs(name):
    weight, hessian = layer()
    scheme = parse_scheme(name)
    fixed, plain = gptq(weight, hessian, scheme, clip=False).weight, quantize(weight, scheme)
    assert (np.asarray(fixed.codes) != np.asarray(plain.codes)).any()
    for array in set(plain.arrays) - {"codes"}:
        assert (np.asarray(fixed.arrays[array]) == np.asarray(plain.arrays[array])).all()


def test_a_clip_shifts_groups_and_leaves_the_scale_of_the_row():
    weight, hessian = layer()
    importance = np.diag(hessian) / np.diag(hessian).mean()
    scheme = ZeroQuantM2(size=32)
    found, plain = clip_search(weight, scheme, importance), quantize(weight, scheme)
    assert (np.asarray(found.arrays["row_scales"]) == np.asarray(plain.arrays["row_scales"])).all()
    shifts = np.asarray(found.arrays["shifts"]).astype(int)
    assert (shifts != np.asarray(plain.arrays["shifts"])).any()
    assert squared(found, weight, importance) < squared(plain, weight, importance)
    # The best of all shifts, by the grid of E2M1 in float64.
    grid = np.array([s * v for v in (0, 0.5, 1, 1.5, 2, 3, 4, 6) for s in (1, -1)])
    tops = np.float64(found.arrays["row_scales"])
    errors = []
    for shift in range(9):
        values = grid * tops[..., None] / 2**shift
        distance = np.abs(weight[..., None] - values).min(axis=-1)
        errors.append((importance * distance**2).reshape(24, 2, 32).sum(axis=-1))
    assert (shifts == np.argmin(errors, axis=0)).mean() > 0.95


def test_a_clip_of_a_mixture_chooses_selectors_by_the_weighted_error():
    weight, _ = layer()
    importance = np.random.default_rng(1).gamma(0.1, size=64)
    scheme = parse_scheme("bitmod-fp3:g32")
    found, plain = clip_search(weight, scheme, importance), quantize(weight, scheme)
    assert (np.asarray(found.arrays["selectors"]) != np.asarray(plain.arrays["selectors"])).any()
    assert squared(found, weight, importance) < 0.8 * squared(plain, weight, importance)


@pytest.mark.parametrize("name", ["kmeans3", "int4-lorc8", "e8p"])
def test_schemes_with_more_than_codes_and_scales_are_refused(name):
    with pytest.raises(ValueError, match=f"^{name} has no clip search; it is for formats whose"):
        check_clip(parse_scheme(name), (16, 256))
