"""Streams of hidden states: the same numbers as the whole model's forward pass."""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme
from sim.calibration.blocks import block_params, read_block
from sim.calibration.statistics import Statistics
from sim.calibration.stream import Stream
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


def statistics_of(source, index, numerics=None) -> dict[str, Statistics]:
    stream = Stream.start(source, TOKENS)
    for i in range(index):
        stream.advance(block_params(source.config, read_block(source, i)))
    given = {} if numerics is None else {"numerics": numerics}
    return stream.statistics(block_params(source.config, read_block(source, index)), **given)


@pytest.mark.parametrize("index", [0, 1])
def test_statistics_are_those_of_what_each_layer_reads(source, params, index):
    found = statistics_of(source, index)
    for site, members in fused_members(source.config).items():
        name = f"layers.{index}.{members[0]}"
        inputs = [layer_inputs(params, jnp.asarray(w), source.config, name) for w in TOKENS]
        x = np.concatenate(inputs).astype(np.float64)
        assert found[site].tokens == TOKENS.size
        assert found[site].hessian == pytest.approx(x.T @ x, rel=1e-4, abs=1e-4)
        assert found[site].amax == pytest.approx(np.abs(x).max(axis=0), rel=1e-4)
        assert found[site].magnitude == pytest.approx(np.abs(x).sum(axis=0), rel=1e-4)


def test_rounded_activations_are_what_the_statistics_see(source, params):
    scheme = parse_scheme("int4", role="activation")
    found = statistics_of(source, 0, LayerNumerics(qkv=scheme))
    name = "layers.0.self_attn.q_proj"
    inputs = [layer_inputs(params, jnp.asarray(w), source.config, name) for w in TOKENS]
    x = np.concatenate([fake_quantize(i, scheme) for i in inputs]).astype(np.float64)
    assert found["qkv"].hessian == pytest.approx(x.T @ x, rel=1e-3, abs=1e-3)
