import re

import ml_dtypes
import numpy as np
import pytest

from sim.model.families import hf_recipe, read_hf, tensor_shapes
from sim.model.hf_tensors import RawTensor


def test_fused_matrices_are_cut_by_rows(golden_model):
    config = golden_model("phi3").config
    name = "model.layers.1.self_attn.qkv_proj.weight"
    cuts = [hf_recipe(config, f"layers.1.self_attn.{x}_proj.weight") for x in "qkv"]
    rows = [(0, 48), (48, 64), (64, 80)]
    assert cuts == [RawTensor(name=name, shape=(80, 48), start=a, stop=b) for a, b in rows]


def test_biases_of_fused_matrices_are_cut_too(golden_model):
    recipe = hf_recipe(golden_model("gpt2").config, "layers.0.self_attn.v_proj.bias")
    name = "transformer.h.0.attn.c_attn.bias"
    assert recipe == RawTensor(name=name, shape=(144,), start=96, stop=144)


def test_gpt2_matrices_are_transposed_but_not_its_tables(golden_model):
    golden = golden_model("gpt2")
    fused = golden.raw["transformer.h.1.attn.c_attn.weight"]
    k = read_hf(golden.config, "layers.1.self_attn.k_proj.weight", golden.raw.__getitem__)
    np.testing.assert_array_equal(k, fused[:, 48:96].T)
    table = read_hf(golden.config, "embed_tokens.weight", golden.raw.__getitem__)
    np.testing.assert_array_equal(table, golden.raw["transformer.wte.weight"])


def test_names_without_the_base_prefix_are_found(case, golden_model):
    golden = golden_model(case)
    bare = {re.sub(r"^(model|transformer)\.", "", n): t for n, t in golden.raw.items()}
    for name in tensor_shapes(golden.config):
        with_prefix = read_hf(golden.config, name, golden.raw.__getitem__)
        np.testing.assert_array_equal(
            read_hf(golden.config, name, bare.__getitem__), with_prefix, err_msg=name
        )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_become_float32(dtype, golden_model):
    golden = golden_model("llama")
    stored = {"model.norm.weight": golden.raw["model.norm.weight"].astype(dtype)}
    read = read_hf(golden.config, "final_norm.weight", stored.__getitem__)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, stored["model.norm.weight"].astype(np.float32))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            {},
            "the checkpoint has no tensor model.norm.weight or norm.weight",
        ),
        (
            {"model.norm.weight": np.zeros(7, np.float32)},
            "tensor model.norm.weight has shape (7,), but the configuration asks for (48,)",
        ),
        (
            {"model.norm.weight": np.zeros(48, np.int8)},
            "tensor model.norm.weight is stored as int8; only float16, float32, float64, bfloat16",
        ),
    ],
)
def test_unfit_tensors_are_refused(stored, message, golden_model):
    message += " can be read" if "int8" in message else ""
    message += " (needed for final_norm.weight)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_hf(golden_model("llama").config, "final_norm.weight", stored.__getitem__)


def test_fused_shapes_are_checked_whole(golden_model):
    stored = {"model.layers.0.mlp.gate_up_proj.weight": np.zeros((161, 48), np.float32)}
    message = (
        "tensor model.layers.0.mlp.gate_up_proj.weight has shape (161, 48), but the configuration "
        "asks for (160, 48) (needed for layers.0.mlp.up_proj.weight)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_hf(golden_model("phi3").config, "layers.0.mlp.up_proj.weight", stored.__getitem__)


def test_names_the_model_lacks_are_refused(golden_model):
    message = "a llama model of this configuration has no tensor 'layers.2.mlp.up_proj.weight'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        hf_recipe(golden_model("llama").config, "layers.2.mlp.up_proj.weight")
