"""Directories of other tools, written and read again."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from sim.errors import UserError
from sim.model.tensors import tensor_shapes
from sim.quantized.containers.writing import CONTAINERS, find_container, write_container
from sim.quantized.table_types import TableTypes
from sim.quantized.writer import write_model
from sim.sources.catalog import open_model
from sim.sweep.recipe_file import make_recipe

EXACT = TableTypes(embeddings="keep", head="keep")


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("int4:g32", "compressed-tensors"),
        ("int4:g32", "awq"),
        ("int4:g32", "gptq"),
        *(
            pytest.param(name, container, marks=pytest.mark.slow)
            for name, container in [
                ("int3:g32:asym:bf16", "compressed-tensors"),
                ("int8:channel", "compressed-tensors"),
                ("fp8_e4m3:tensor:fp32", "compressed-tensors"),
                ("nvfp4", "compressed-tensors"),
                ("mxfp4", "compressed-tensors"),
                ("mxfp6_e2m3", "compressed-tensors"),
                ("mxfp8_e4m3", "compressed-tensors"),
                ("int8:g32", "gptq"),
                ("int4:channel", "gptq"),
                ("int2:g16", "gptq"),
                ("int4:g32:asym", "awq"),
                ("int3:g32:asym", "gptq"),
            ]
        ),
    ],
)
def test_what_is_read_again_is_what_the_codes_of_qsim_stand_for(source, tmp_path, name, container):
    recipe = make_recipe(name)
    packed = open_model(str(write_model(source, recipe, tmp_path / "packed", EXACT)))
    out = write_container(source, recipe, tmp_path / "out", CONTAINERS[container])
    read = open_model(str(out))
    assert read.config == source.config
    for tensor in tensor_shapes(source.config):
        np.testing.assert_allclose(
            read.read(tensor), packed.read(tensor), rtol=3e-7 if name == "nvfp4" else 0
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "packed"]


def test_layers_that_are_kept_and_several_formats_are_in_the_settings(source, tmp_path):
    recipe = make_recipe("int4:g32", skip=("*.down_proj",))
    out = write_container(source, recipe, tmp_path / "out", CONTAINERS["compressed-tensors"])
    settings = json.loads((out / "config.json").read_text())["quantization_config"]
    assert settings["ignore"] == [
        "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head",
    ]  # fmt: skip
    read, name = open_model(str(out)), "layers.0.mlp.down_proj.weight"
    np.testing.assert_array_equal(read.read(name), source.read(name))
    stored = load_file(out / "model.safetensors")
    assert stored["model.layers.0.mlp.up_proj.weight_packed"].dtype == np.int32


@pytest.mark.parametrize(
    ("name", "container", "message"),
    [
        ("nf4", "compressed-tensors", "nf4:g64:fp32 has no format in compressed-tensors; those"),
        ("fp4:g32", "gptq", "fp4_e2m1:g32:fp16 has no place in GPTQ, which holds integers with an"),
        ("int4:g32:bf16", "awq", "int4:g32:bf16 has no place in AWQ"),
        ("int8:g32", "awq", "AWQ holds 4 bits, not 8; GPTQ holds 2, 3, 4 and 8"),
        ("int5:g32", "gptq", "GPTQ holds 2, 3, 4 and 8 bits, not 5"),
        ("int4:g40", "gptq", "rows of 64 are not whole groups of 40"),
        ("none", "gptq", "float32 has no format of weights to write"),
    ],
)
def test_what_a_container_cannot_hold_is_refused(source, tmp_path, name, container, message):
    with pytest.raises(UserError, match=message):
        write_container(source, make_recipe(name), tmp_path / "out", CONTAINERS[container])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_container_is_refused():
    with pytest.raises(UserError, match="unknown container 'gguff'"):
        find_container("gguff")
