"""Learned rotations: gradients that respect the model's invariance, and a lower divergence."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme
from numerics.solvers.orthogonal import orthogonality_error
from sim.methods.chain import parse_chain
from sim.methods.rotation_learning import RotationProblem, Rotations, learn, rotated_block
from sim.methods.rotations import Rotate
from sim.methods.spinquant import SpinQuant
from sim.methods.step import Task
from sim.model.layer_numerics import LayerNumerics
from sim.model.tensors import linear_names
from sim.sources.catalog import open_model

INT4 = parse_scheme("int4:channel")
TOKENS = np.random.default_rng(0).integers(0, 256, (2, 16)).astype(np.int32)


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture(scope="module")
def start(source):
    return Rotate(r4=True).rotated(source)


def rounding(config):
    every = LayerNumerics(qkv=INT4, o=INT4, gate_up=INT4, down=INT4)
    return dict.fromkeys(linear_names(config), INT4), (every,) * config.layers


def random_rotations(config, seed=1):
    random = np.random.default_rng(seed)

    def orthogonal(n):
        return np.linalg.qr(random.standard_normal((n, n)))[0]

    return Rotations(
        residual=orthogonal(config.hidden_size),
        values=np.stack([orthogonal(config.head_dim) for _ in range(config.layers)]),
    )


def test_without_rounding_no_rotation_is_better_than_another(start):
    # The float model is the same under every rotation, so that the derivative along orthogonal
    # matrices is zero for any loss: R^T G is symmetric.
    problem = RotationProblem.of(start, TOKENS, {}, None)
    at = random_rotations(start.config)
    loss, _ = problem.gradient(np.array([1]), at)
    assert loss < 1e-9
    problem.targets = np.random.default_rng(3).standard_normal(problem.targets.shape, np.float32)
    loss, gradient = problem.gradient(np.array([1]), at)
    assert loss > 0.01
    pairs = [(at.residual, gradient.residual), *zip(at.values, gradient.values, strict=True)]
    for matrix, derivative in pairs:
        inner = matrix.T @ derivative
        assert np.abs(inner).max() > 1e-4
        assert np.abs(inner - inner.T).max() < 1e-3 * np.abs(inner).max()


def test_learning_lowers_the_divergence_and_stays_orthogonal(start):
    problem = RotationProblem.of(start, TOKENS, *rounding(start.config))
    found, losses = learn(problem, steps=16, windows=1, rate=1.5)
    before, after = (
        sum(problem.gradient(np.array([i]), at)[0] for i in range(2))
        for at in (Rotations.identity(start.config), found)
    )
    assert losses[0] == problem.gradient(np.array([0]), Rotations.identity(start.config))[0]
    assert after < 0.95 * before
    assert orthogonality_error(found.residual) < 1e-12
    assert orthogonality_error(found.values) < 1e-12


def test_the_source_has_the_weights_that_were_learned(source):
    config = source.config
    weights, numerics = rounding(config)
    step = SpinQuant(steps=2, windows=1, rate=1.5, r4=True)
    task = Task(weights=weights, numerics=numerics, tokens=TOKENS)
    learned = step.apply(source, task)
    assert learned.config == step.transformed(config)
    problem = RotationProblem.of(Rotate(r4=True).rotated(source), TOKENS, weights, numerics)
    found, _ = learn(problem, steps=2, windows=1, rate=1.5)
    params = rotated_block(
        problem.blocks[1],
        jnp.asarray(found.residual, jnp.float32),
        jnp.asarray(found.values[1], jnp.float32),
        learned.config,
        (),
    )
    for buffer, member in (("o", "self_attn.o_proj"), ("down", "mlp.down_proj")):
        tensor = learned.read(f"layers.1.{member}.weight")
        assert np.allclose(params[buffer], tensor, rtol=0, atol=1e-5), buffer
    name = "layers.1.self_attn.v_proj.weight"
    v = learned.read(name)
    assert np.allclose(params["qkv"][-len(v) :], v, rtol=0, atol=1e-5)
    assert not np.allclose(
        v, Rotate().rotated(source).read("layers.1.self_attn.v_proj.weight"), atol=1e-3
    )


def test_what_was_learned_before_an_interruption_is_not_learned_again(source):
    config = source.config
    kept = {
        "residual": np.eye(config.hidden_size),
        "values": np.stack([np.eye(config.head_dim)] * config.layers),
    }
    task = Task(
        weights=rounding(config)[0], numerics=None, tokens=TOKENS, once=lambda name, make: kept
    )
    name = "layers.0.self_attn.o_proj.weight"
    expected = Rotate(seed=4).rotated(source).read(name)
    found = SpinQuant(seed=4).apply(source, task).read(name)
    assert np.allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spinquant(steps=0)", "option steps of spinquant is 0; at least 1"),
        ("spinquant(windows=0)", "option windows of spinquant is 0; at least 1"),
        ("spinquant(rate=0)", "option rate of spinquant is 0; it must be a number above 0"),
        ("spinquant(rate=nan)", "option rate of spinquant is nan; it must be a number above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(text, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_chain(text)


def test_something_must_be_rounded(source):
    task = Task(weights=rounding(source.config)[0], numerics=None, tokens=TOKENS)
    with pytest.raises(ValueError, match=r"^spinquant\(weights=false\) learns from rounded"):
        SpinQuant(weights=False).apply(source, task)
    with pytest.raises(ValueError, match=r"^spinquant needs calibration windows$"):
        SpinQuant().apply(source, dataclasses.replace(task, tokens=None))
