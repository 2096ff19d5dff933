"""Diagonal scales: published vectors of AWQ and SmoothQuant, and the errors against float64."""

import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme
from numerics.solvers.scales import (
    awq_scales,
    input_errors,
    power_of_two,
    smooth_scales,
    weight_errors,
)

W = np.float32([[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]])
X = np.float32(
    [
        [1.0, 0.1, -8.0, 0.5],
        [-0.7, 0.02, 5.0, 0.25],
        [0.3, -0.15, 2.0, -1.0],
        [0.9, 0.05, -6.5, 0.75],
    ]
)
H = X.T.astype(np.float64) @ X
ASYMMETRIC = parse_scheme("int4:g4:asym:fp32")
EXPONENTS = [i / 20 for i in range(20)]
CANDIDATES = np.stack([awq_scales(np.abs(X).mean(axis=0), r) for r in EXPONENTS])


def test_awq_losses_are_those_of_the_public_code():
    # Losses of llm-awq's search on one layer, mean over 4 tokens of 3 outputs.
    public = [0.02013183, 0.02716918, 0.03275341, 0.00143703, 0.02571025]
    public += [0.00610933, 0.00058915, 0.0057866, 0.00645628, 0.00298148]
    losses = weight_errors(W, H, ASYMMETRIC, CANDIDATES) / 12
    assert losses[:10] == pytest.approx(public, rel=1e-4)
    assert int(np.argmin(losses)) == 6


def test_awq_scales_and_weights_are_those_of_the_public_code():
    best = CANDIDATES[6]
    assert best == pytest.approx([1.03057861, 0.53199399, 1.87972033, 0.98569763], rel=1e-6)
    rounded = np.asarray(fake_quantize(W * best, ASYMMETRIC)) / best
    assert rounded[0] == pytest.approx([0.50656801, -0.28037813, 0.11902792, 0.98360449], rel=1e-6)


def test_exponent_zero_is_the_identity_in_every_bit():
    assert (CANDIDATES[0] == 1).all()
    assert awq_scales(np.array([0.0, 3.0]), 0.0).tolist() == [1.0, 1.0]


def test_a_channel_without_inputs_is_not_scaled():
    assert awq_scales(np.array([0.0, 1.0, 4.0]), 0.5).tolist() == pytest.approx(
        [1, 0.5**0.5, 2**0.5]
    )
    assert smooth_scales(np.array([0.0, 4.0]), np.ones(2), 0.5).tolist() == [1, 2]
    assert (awq_scales(np.zeros(2), 0.5) == 1).all()


def test_smooth_scales_are_those_of_the_public_code():
    scales = smooth_scales(np.abs(X).max(axis=0), np.abs(W).max(axis=0), 0.5)
    assert scales == pytest.approx([0.81649655, 0.44721365, 5.16397762, 1.0], rel=1e-6)


def test_smoothed_outputs_are_those_of_the_public_code():
    scales = smooth_scales(np.abs(X).max(axis=0), np.abs(W).max(axis=0), 0.5)
    weights, inputs = parse_scheme("int4:channel:fp32"), parse_scheme("int8:channel:fp32")
    x = np.asarray(fake_quantize(X / scales, inputs), np.float64)
    w = np.asarray(fake_quantize(W * scales, weights), np.float64)
    assert (x @ w.T)[0] == pytest.approx([-0.1150133, -3.92260981, 0.52427447], rel=1e-5)
    tokens = np.array([1.0, 2.0, 3.0, 4.0])
    error = input_errors(W, X, tokens, (weights, inputs), scales[None])
    outputs = (x - X.astype(np.float64) / scales) @ w.T
    assert error[0] == pytest.approx((tokens[:, None] * outputs**2).sum(), rel=1e-3)


def test_errors_equal_a_float64_product():
    rng = np.random.default_rng(0)
    scheme = parse_scheme("int3:g4")
    for _ in range(3):
        w = rng.standard_normal((3, 4)).astype(np.float32)
        s = np.exp(rng.standard_normal(4)).astype(np.float32)
        d = np.asarray(fake_quantize(w * s, scheme), np.float64) / s - w
        found = weight_errors(w, H, scheme, np.broadcast_to(s, (20, 4)))
        assert found == pytest.approx(np.trace(d @ H @ d.T), rel=1e-4)


def test_powers_of_two_change_only_the_exponent():
    scales = power_of_two(CANDIDATES)
    assert (np.frexp(scales)[0] == 0.5).all()
    assert np.abs(np.log2(scales / CANDIDATES)).max() <= 0.5 + 1e-6
