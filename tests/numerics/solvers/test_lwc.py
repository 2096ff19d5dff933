"""Learned ranges: the public quantizer of OmniQuant with its gradients, and the losses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.schemes import grouping
from numerics.schemes.element_arrays import restored_values
from numerics.solvers.hessian import output_error
from numerics.solvers.lwc import learned_clip
from numerics.solvers.ranges import side_data
from numerics.solvers.straight_through import rounded

W = np.float32([[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]])
X = np.float32(
    [
        [1.0, 0.1, -8.0, 0.5],
        [-0.7, 0.02, 5.0, 0.25],
        [0.3, -0.15, 2.0, -1.0],
        [0.9, 0.05, -6.5, 0.75],
    ]
)
ASYMMETRIC = parse_scheme("int3:channel:asym:fp32")


def public(learned):
    """Return the weights and the loss of OmniQuant's factors ``sigmoid(g)``."""
    factors = tuple(jax.nn.sigmoid(g)[:, None] for g in learned)
    values = rounded(jnp.asarray(W)[:, None], factors, ASYMMETRIC, None)[:, 0]
    return jnp.mean((X @ (values - W).T) ** 2), values


def test_values_and_gradients_are_those_of_the_public_code():
    start = (jnp.full(3, 4.0), jnp.full(3, 4.0))
    (loss, values), gradients = jax.jit(jax.value_and_grad(public, has_aux=True))(start)
    assert np.asarray(values) == pytest.approx(
        np.array(
            [
                [0.5260788, -0.1753596, 0.1753596, 1.0521576],
                [-1.5782366, 0.6312946, 0.3156473, 0],
                [0.0196403, 0.0392806, -0.0589208, 0.0785611],
            ]
        ),
        abs=5e-8,  # printed with seven decimals
    )
    assert float(loss) == pytest.approx(0.02645297, rel=1e-5)
    upper, lower = (np.asarray(g) for g in gradients)
    assert upper == pytest.approx([5.984307e-4, 6.76388e-5, 3.5621e-7], rel=1e-4)
    assert lower == pytest.approx([1.496077e-4, 1.352777e-4, 2.67157e-7], rel=1e-4)


RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_t(4, (8, 40)).astype(np.float32)
INPUTS = RNG.standard_normal((256, 40)) @ RNG.standard_normal((40, 40))
HESSIAN = INPUTS.T @ INPUTS
#: Int, float, table, zero point, minimum, a second level, a mean as scale; groups of 16, 16 and 8.
SCHEMES = ["int3:g16", "fp4:g16", "nf4:g16:fp32", "int3:g16:asym", "int3:g16:floatmin", "nvfp4"]
SCHEMES += ["ternary:g16"]


@partial(jax.jit, static_argnums=2)
def both(block, factors, scheme, level):
    side = side_data(block, factors, scheme, level)
    values = rounded(block, factors, scheme, level)
    return values, restored_values(block, side, scheme, level)


@pytest.mark.parametrize(
    "name", [pytest.param(s, marks=[pytest.mark.slow] * (i % 2)) for i, s in enumerate(SCHEMES)]
)
def test_differentiable_values_are_those_of_the_scheme(name):
    scheme = parse_scheme(name)
    for block in grouping.split_groups(jnp.asarray(WEIGHT), scheme.granularity):
        factors = jnp.full(block.shape[:2], 0.75), jnp.full(block.shape[:2], 0.875)
        level = jnp.float32(0.01) if scheme.second_level else None
        found, expected = both(block, factors, scheme, level)
        assert (found == expected).all()


@pytest.mark.parametrize("name", ["int3:g16", "fp4:g16"])
def test_the_gradient_is_that_of_lsq(name):
    scheme = parse_scheme(name)
    block = grouping.split_groups(jnp.asarray(WEIGHT), scheme.granularity)[0]
    pull = RNG.standard_normal(block.shape).astype(np.float32)
    upper = jnp.full(block.shape[:2], 0.8)

    def total(upper):
        return jnp.sum(pull * rounded(block, (upper, upper), scheme, None))

    w = np.asarray(block, np.float64)
    scale = np.asarray(side_data(block, (upper, upper), scheme, None).scales, np.float64)[..., None]
    values = np.asarray(rounded(block, (upper, upper), scheme, None), np.float64)
    whole = np.asarray(side_data(block, (upper / 0.8, upper), scheme, None).scales, np.float64)
    limit = scheme.element.max + (0.5 if name.startswith("int") else 0)
    inside = np.abs(w / scale) <= limit
    expected = np.sum(pull * (values / scale - inside * w / scale), axis=-1) * whole
    assert np.asarray(jax.jit(jax.grad(total))(upper)) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )


@pytest.mark.parametrize(
    "name",
    [
        "int3:g16:asym",
        pytest.param("nvfp4", marks=pytest.mark.slow),
        "int4:channel",
        "int4:g16:e8m0",
    ],
)
def test_learned_ranges_lose_less_than_clipped_and_nearest_ones(name):
    scheme = parse_scheme(name)
    found = learned_clip(WEIGHT, HESSIAN, scheme, sweeps=1, steps=10)
    nearest = output_error(np.asarray(fake_quantize(WEIGHT, scheme)) - WEIGHT, HESSIAN)
    searched = learned_clip(WEIGHT, HESSIAN, scheme, sweeps=1, steps=0)
    losses = [output_error(np.asarray(q.dequantize()) - WEIGHT, HESSIAN) for q in (found, searched)]
    assert losses[0] <= losses[1] * (1 + 1e-5)
    assert losses[1] < nearest


def test_without_sweeps_and_steps_the_codes_are_the_nearest():
    scheme = parse_scheme("int3:g16")
    found, nearest = (
        learned_clip(WEIGHT, HESSIAN, scheme, sweeps=0, steps=0),
        quantize(WEIGHT, scheme),
    )
    assert (found.codes == nearest.codes).all()
    assert (found.scales == nearest.scales).all()
