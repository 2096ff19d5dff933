"""Streams of hidden states: the same numbers as the whole model's forward pass."""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme
from sim.calibration.statistics import Statistics
from sim.calibration.stream import Stream
from sim.model.block_buffers import BlockBuffers
from sim.model.capture import layer_inputs
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import ModelBuffers
from sim.model.tensors import fused_members, tensor_shapes
from sim.sources.catalog import open_model

TOKENS = np.random.default_rng(0).integers(0, 256, (3, 16)).astype(np.int32)


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture(scope="module")
def params(source):
    buffers = ModelBuffers(source.config)
    for name in tensor_shapes(source.config):
        buffers.write(name, source.read(name))
    return buffers.params()


def block_params(source, index):
    buffers = BlockBuffers(source.config)
    for name in buffers.tensors:
        buffers.write(name, source.read(f"layers.{index}.{name}"))
    return buffers.params()


def stream_at(source, params, index) -> Stream:
    stream = Stream.start(source.config, params, TOKENS)
    for i in range(index):
        stream.advance(block_params(source, i))
    return stream


def statistics_of(source, params, index, **given) -> dict[str, Statistics]:
    return stream_at(source, params, index).statistics(block_params(source, index), **given)


@pytest.mark.parametrize("index", [0, 1])
def test_statistics_are_those_of_what_each_layer_reads(source, params, index):
    found = statistics_of(source, params, index, with_sample=True)
    for site, members in fused_members(source.config).items():
        name = f"layers.{index}.{members[0]}"
        inputs = [layer_inputs(params, jnp.asarray(w), source.config, name) for w in TOKENS]
        x = np.concatenate(inputs).astype(np.float64)
        assert found[site].tokens == TOKENS.size
        assert found[site].hessian == pytest.approx(x.T @ x, rel=1e-4, abs=1e-4)
        assert found[site].amax == pytest.approx(np.abs(x).max(axis=0), rel=1e-4)
        assert found[site].magnitude == pytest.approx(np.abs(x).sum(axis=0), rel=1e-4)
        # Every token fits in the sample of so short a text.
        assert found[site].sample == pytest.approx(x, rel=1e-4, abs=1e-4)


def test_rounded_activations_are_what_the_statistics_see(source, params):
    scheme = parse_scheme("int4", role="activation")
    found = statistics_of(source, params, 0, numerics=LayerNumerics(qkv=scheme), with_sample=True)
    name = "layers.0.self_attn.q_proj"
    inputs = [layer_inputs(params, jnp.asarray(w), source.config, name) for w in TOKENS]
    x = np.concatenate([fake_quantize(i, scheme) for i in inputs]).astype(np.float64)
    assert found["qkv"].hessian == pytest.approx(x.T @ x, rel=1e-3, abs=1e-3)
    unrounded = np.concatenate(inputs)
    assert found["qkv"].sample == pytest.approx(unrounded, rel=1e-4, abs=1e-4)
    # Rounding makes zeros of small channels, whose scales would become huge.
    assert found["qkv"].amax == pytest.approx(np.abs(unrounded).max(axis=0), rel=1e-4)
    assert found["qkv"].magnitude == pytest.approx(np.abs(unrounded).sum(axis=0), rel=1e-4)


def test_the_shift_is_the_product_of_the_float_inputs_error_with_the_inputs(source, params):
    reference, stream = stream_at(source, params, 1), stream_at(source, params, 1)
    stream.states *= np.float32(1.1)
    layer = block_params(source, 1)
    floats, advanced = reference.statistics(layer, with_sample=True), reference.copy()
    advanced.advance(layer)
    found = stream.statistics(layer, reference=reference, with_sample=True)
    assert reference.index == 1
    again = stream.statistics(layer, reference=reference, advances_reference=True)
    assert reference.index == advanced.index == 2
    assert reference.states == pytest.approx(advanced.states, abs=1e-5)
    assert all((again[site].shift == entry.shift).all() for site, entry in found.items())
    for site, entry in found.items():
        x, x_float = entry.sample.astype(np.float64), floats[site].sample.astype(np.float64)
        assert entry.shift == pytest.approx((x_float - x).T @ x, rel=1e-3, abs=1e-3)
        assert floats[site].shift is None


def test_scaled_statistics_are_those_of_scaled_inputs():
    random = np.random.default_rng(1)
    x, scale = random.normal(size=(32, 6)).astype(np.float32), random.uniform(0.5, 2, 6)
    plain, scaled = Statistics.empty(6), Statistics.empty(6)
    # A smaller sample could have other rows, because the largest ones are other ones.
    plain.add(x, sampled=32)
    scaled.add((x / scale).astype(np.float32), sampled=32)
    found = plain.scaled(scale)
    assert found.hessian == pytest.approx(scaled.hessian, rel=1e-5, abs=1e-5)
    assert found.amax == pytest.approx(scaled.amax) and found.tokens == 32
    assert found.magnitude == pytest.approx(scaled.magnitude)
    assert found.sample == pytest.approx(scaled.sample) and len(found.sample) == 32


def test_a_sample_has_the_largest_rows_and_weights_of_all_tokens():
    x = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
    x[[0, 17]] *= 50
    found = Statistics.empty(6)
    for _ in range(2):
        found.add(x, sampled=8)
    assert len(found.sample) == 16
    assert found.sample_weights.sum() == pytest.approx(found.tokens)
    massive = np.abs(found.sample).max(axis=1) > 10
    assert massive.sum() == 4 and (found.sample_weights[massive] == 1).all()
