"""Learned channel scales and differentiable rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme
from numerics.solvers.learned_scales import Layer, learned_scales
from numerics.solvers.scales import input_errors, weight_errors
from numerics.solvers.straight_through import fake_quantize

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((8, 32)).astype(np.float32)
INPUTS = RNG.standard_normal((24, 32)).astype(np.float32)
INPUTS[:, :3] *= 30
HESSIAN = INPUTS.T.astype(np.float64) @ INPUTS
INT4, ROWS = parse_scheme("int4:g16"), parse_scheme("int4", role="activation")


def error(scales, inputs) -> float:
    total = weight_errors(WEIGHT, HESSIAN, INT4, scales[None])[0]
    if inputs is not None:
        total += input_errors(WEIGHT, INPUTS, np.ones(24), (INT4, inputs), scales[None])[0]
    return float(total)


@pytest.mark.parametrize("inputs", [None, ROWS])
def test_learned_scales_lose_less_than_none_and_never_more(inputs):
    layers = (Layer(weight=WEIGHT, weights=INT4, inputs=inputs),)
    data = layers, HESSIAN, INPUTS, np.ones(24), np.arange(32)
    learned = learned_scales(*data, steps=30, rate=0.05)
    assert error(learned, inputs) < 0.8 * error(np.ones(32, np.float32), inputs)
    assert (learned_scales(*data, steps=0, rate=0.05) == 1).all()


def test_channels_can_share_a_scale():
    layers = (Layer(weight=WEIGHT, weights=INT4, inputs=None),)
    shared = np.arange(32) // 2
    learned = learned_scales(layers, HESSIAN, INPUTS, np.ones(24), shared, steps=30, rate=0.05)
    assert learned.shape == (16,) and (learned != 1).any()


@pytest.mark.parametrize("name", ["int4:g16", "mxfp4", "bitmod-fp4:g16"])
def test_values_are_those_of_the_scheme(name):
    scheme = parse_scheme(name)
    x = jnp.asarray(WEIGHT)
    assert (jax.jit(fake_quantize, static_argnums=1)(x, scheme) == scheme.fake_quantize(x)).all()


def test_the_largest_value_of_a_group_moves_all_its_values():
    """With scale ``max / 7`` the maximum's gradient is the sum of all values over the maximum.

    Each value is its code times the scale; in range, a change of the scale alone moves it by the
    code minus its position.
    """
    x = jnp.asarray(WEIGHT[:1, :16])
    scheme = parse_scheme("int4:g16:fp32")
    pull = RNG.standard_normal(16).astype(np.float32)
    gradient = np.asarray(jax.jit(jax.grad(lambda x: jnp.sum(pull * fake_quantize(x, scheme))))(x))[
        0
    ]
    top = int(np.abs(WEIGHT[0, :16]).argmax())
    others = np.arange(16) != top
    assert gradient[others] == pytest.approx(pull[others], rel=1e-6)
    position = WEIGHT[0, :16].astype(np.float64) / (np.abs(WEIGHT[0, :16]).max() / 7)
    moved = np.sum(pull * (np.rint(position) - position)) / 7 * np.sign(WEIGHT[0, top])
    assert gradient[top] == pytest.approx(pull[top] + moved, rel=1e-4)
