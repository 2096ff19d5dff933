import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.model import params as params_module
from sim.model.families import tensor_shapes
from sim.model.params import ModelBuffers, aligned_empty


def filled(config, value=0.0):
    buffers = ModelBuffers(config)
    for name, shape in tensor_shapes(config).items():
        buffers.write(name, np.full(shape, value, np.float32))
    return buffers


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 9)])
def test_memory_begins_at_a_multiple_of_64_bytes(shape):
    array = aligned_empty(shape)
    assert array.shape == shape
    assert array.ctypes.data % 64 == 0


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have memory of their own")
def test_jax_computes_on_the_buffers_themselves(golden_model):
    buffers = filled(golden_model("llama").config)
    params = buffers.params()
    owned = {array.ctypes.data for array in buffers._buffers.values()}
    assert {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)} == owned


def test_a_written_matrix_shows_in_the_next_parameters(golden_model):
    buffers = filled(golden_model("llama").config)
    total = jax.jit(jnp.sum)
    assert total(buffers.params()["layers"]["qkv"]) == 0
    buffers.write("layers.1.self_attn.k_proj.weight", np.ones((16, 48), np.float32))
    qkv = buffers.params()["layers"]["qkv"]
    assert total(qkv) == 16 * 48
    assert total(qkv[1, 48:64]) == 16 * 48


def test_other_float_types_are_converted_on_the_way(golden_model):
    buffers = filled(golden_model("llama").config)
    buffers.write("final_norm.weight", np.full(48, 1.5, np.float16))
    norm = buffers.params()["final_norm"]
    assert norm.dtype == jnp.float32
    assert (norm == 1.5).all()


def test_names_of_the_parameters(golden_model):
    params = filled(golden_model("phi").config).params()
    assert params.keys() == {
        "embed",
        "final_norm",
        "final_norm_bias",
        "head",
        "head_bias",
        "layers",
    }
    assert {key: leaf.shape for key, leaf in params["layers"].items()} == {
        "attn_norm": (2, 48),
        "attn_norm_bias": (2, 48),
        "qkv": (2, 80, 48),
        "qkv_bias": (2, 80),
        "o": (2, 48, 48),
        "o_bias": (2, 48),
        "gate_up": (2, 80, 48),
        "gate_up_bias": (2, 80),
        "down": (2, 48, 80),
        "down_bias": (2, 48),
    }


def test_incomplete_buffers_are_refused(golden_model):
    config = golden_model("llama").config
    buffers = ModelBuffers(config)
    buffers.write("final_norm.weight", np.ones(48, np.float32))
    message = "20 tensors were never written, such as embed_tokens.weight"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        buffers.params()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("norm", (48,), "the model has no tensor 'norm'"),
        (
            "final_norm.weight",
            (1, 48),
            "tensor final_norm.weight has shape (1, 48), expected (48,)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name, shape, message, golden_model):
    buffers = ModelBuffers(golden_model("llama").config)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        buffers.write(name, np.zeros(shape, np.float32))


def test_models_larger_than_the_memory_are_refused(golden_model, monkeypatch):
    monkeypatch.setattr(params_module, "physical_memory_bytes", lambda: 100_000)
    message = "the model's float32 weights need 0.0 GB, but this machine has 0.0 GB of memory"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ModelBuffers(golden_model("llama").config)
