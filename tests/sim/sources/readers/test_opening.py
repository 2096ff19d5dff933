"""Directories with quantized layers, as models."""

import json
import re

import numpy as np
import pytest
from _helpers.layouts import (
    int4_packed,
    int4_settings,
    int4_values,
    requantized,
    save,
)
from safetensors.numpy import load_file

from sim.errors import UserError
from sim.model.families import config_from_hf
from sim.sources.catalog import open_model
from sim.sources.readers.array_types import DTYPES

GROUP_INPUTS = {"input_activations": {"num_bits": 8, "strategy": "token", "dynamic": True}}


@pytest.fixture(scope="module")
def directory(tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("quantized") / "int4"
    return requantized(tiny_model, out, int4_settings(group=GROUP_INPUTS), int4_packed)


def changed(directory, path, *, tensors=None, settings=None):
    """Copy a directory with some tensors (``None``: without them) and settings changed."""
    path.mkdir()
    stored = load_file(directory / "model.safetensors") | (tensors or {})
    save({n: a for n, a in stored.items() if a is not None}, path / "model.safetensors")
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] |= settings or {}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_bytes((directory / "tokenizer.json").read_bytes())
    return path


def test_what_is_read_is_what_the_codes_stand_for(directory, tiny_model):
    source, floats = open_model(str(directory)), open_model(str(tiny_model))
    assert source.config == floats.config
    name = "layers.1.mlp.down_proj.weight"
    np.testing.assert_array_equal(source.read(name), int4_values(floats.read(name)))
    np.testing.assert_array_equal(np.asarray(source.codes(name).dequantize()), source.read(name))
    norm = "layers.1.mlp_norm.weight"
    np.testing.assert_array_equal(source.read(norm), floats.read(norm))
    assert source.codes(norm) is None
    assert source.source_types == {"int4_full:g32:fp16": 14, "F32": 6}
    (note,) = source.notes
    assert note == (
        "14 matrices are quantized already, by compressed-tensors 0.20.1; float32 is what they "
        "dequantize to"
    )


def test_bits_are_those_of_the_file(directory):
    source = open_model(str(directory))
    name = "layers.0.mlp.up_proj.weight"
    assert source.stored_bits(name) == 96 * 64 * (4 + 16 / 32) and source.is_quantized(name)
    assert source.stored_bits("embed_tokens.weight") == 32 * 256 * 64
    assert not source.is_quantized("embed_tokens.weight")


def test_activations_are_those_of_the_settings(directory):
    source = open_model(str(directory))
    assert {s.name for s in source.activations.values()} == {"int8_full:token:fp32"}
    assert len(source.activations) == 14 and source.kv == {}


def test_a_fused_matrix_is_decoded_and_then_sliced(tiny, tmp_path):
    raw = tiny.CONFIGS["phi3"]
    config = config_from_hf(raw)
    tensors = tiny.random_tensors(config)
    floats = tiny.write_directory(tmp_path / "float", raw, tiny.raw_tensors(config, tensors))
    source = open_model(str(requantized(floats, tmp_path / "int4", int4_settings(), int4_packed)))
    for name in ("layers.1.self_attn.k_proj.weight", "layers.0.mlp.up_proj.weight"):
        np.testing.assert_array_equal(source.read(name), int4_values(tensors[name]))
        assert source.codes(name).shape == tensors[name].shape
        assert source.stored_bits(name) == tensors[name].size * 4.5


DOWN = "model.layers.0.mlp.down_proj"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({f"{DOWN}.weight_scale": None}, f"PATH: no tensor {DOWN}.weight_scale, which int4"),
        ({f"{DOWN}.weight_packed": None}, f"PATH: no tensor {DOWN}.weight_packed, which int4"),
        (
            {f"{DOWN}.weight_scale": np.zeros((64, 2), np.float16)},
            rf"PATH: tensor {DOWN}.weight_scale is F16\[64, 2\], but int4.*\[64, 3\]",
        ),
        (
            {f"{DOWN}.weight_scale": np.zeros((64, 3), np.int32)},
            rf"PATH: tensor {DOWN}.weight_scale is I32\[64, 3\], but int4",
        ),
        ({f"{DOWN}.weird": np.zeros(3)}, f"tensors that a llama model does not use: {DOWN}.weird"),
        (
            {f"{DOWN}.weight": np.zeros((64, 96), np.float32)},
            f"PATH has {DOWN}.weight beside the parts of int4_full:g32:fp16, not both",
        ),
        (
            {"model.layers.7.mlp.down_proj.weight_packed": np.zeros(3, np.int32)},
            "does not use: model.layers.7.mlp.down_proj.weight_packed",
        ),
    ],
)
def test_missing_misshapen_and_left_over_tensors_are_refused_on_opening(
    directory, tmp_path, tensors, message
):
    path = changed(directory, tmp_path / "x", tensors=tensors)
    with pytest.raises(UserError, match=message.replace("PATH", re.escape(str(path)))):
        open_model(str(path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quant_method": "eetq"}, "checkpoints of eetq can't be read, its weights are permuted"),
        ({"quant_method": "compressed-tensor"}, "unknown quant_method 'compressed-tensor'"),
        ({"quant_method": None}, "quantization_config has no quant_method"),
        (
            {"quant_method": "gptq", "bits": 4, "format": None},
            "has the settings of GPTQ .* no quantized layer",
        ),
        ({"format": "float-quantized"}, "weights of type float, not int"),
    ],
)
def test_settings_that_contradict_the_tensors_are_refused(directory, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        open_model(str(changed(directory, tmp_path / "x", settings=settings)))


def test_values_that_are_not_finite_are_refused(directory, tmp_path):
    scales = np.full((64, 3), np.nan, np.float16)
    path = changed(directory, tmp_path / "x", tensors={f"{DOWN}.weight_scale": scales})
    with pytest.raises(UserError, match="has 6144 values that are NaN or infinite"):
        open_model(str(path)).read("layers.0.mlp.down_proj.weight")


def test_settings_change_the_content_hash(directory, tmp_path):
    other = changed(directory, tmp_path / "x", settings={"ignore": []})
    assert open_model(str(other)).content_hash != open_model(str(directory)).content_hash


def test_a_stored_head_that_is_quantized_unties_the_embedding(directory, tmp_path, tiny_model):
    weight = load_file(tiny_model / "model.safetensors")["model.embed_tokens.weight"] + 1
    head = {f"lm_head.{part}": array for part, array in int4_packed(weight).items()}
    path = changed(directory, tmp_path / "x", tensors=head, settings={"ignore": []})
    source = open_model(str(path))
    assert not source.config.tie_embeddings
    np.testing.assert_array_equal(source.read("lm_head.weight"), int4_values(weight))


def test_every_storage_type_is_read_from_a_file(tmp_path):
    from sim.sources.hf_files import list_tensors
    from sim.sources.readers.tensor_bytes import read_array

    raw = np.arange(48, dtype=np.uint8)
    arrays = {n: raw[: 6 * d.itemsize].view(d).reshape(2, 3) for n, d in DTYPES.items()}
    save(arrays, tmp_path / "model.safetensors")
    for name, tensor in list_tensors(tmp_path).items():
        found = read_array(tensor, name)
        assert found.dtype == DTYPES[name] and found.tobytes() == arrays[name].tobytes()
