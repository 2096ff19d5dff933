"""What 'qsim models show' says of the files of a model."""

import shutil

import pytest
from _helpers.layouts import int4_packed, int4_settings, requantized

from sim.deployment.stored_text import stored_lines
from sim.sources.catalog import open_model, stored_model

INPUTS = {"input_activations": {"num_bits": 8, "strategy": "token", "dynamic": True}}


@pytest.fixture(scope="module")
def directory(tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("shown") / "w4a8"
    return requantized(tiny_model, out, int4_settings(group=INPUTS), int4_packed)


def lines(path):
    found = stored_model(open_model(str(path)))
    assert found is not None
    return list(stored_lines(found))


def test_a_quantized_checkpoint_is_described(directory):
    *shown, tokenizer = lines(directory)
    assert shown == [
        "linear layers: 14 int4_full:g32:fp16",
        "bits per weight: 4.5 in the files; 4 of codes alone, 4.5 with side data; 0.1014 MB in all",
        "in floating point: embed_tokens",
        "written by: compressed-tensors 0.20.1",
        "activations: 14 layers int8_full:token:fp32",
        "KV cache: in floating point",
    ]
    assert tokenizer.startswith("tokenizer: 256 tokens, SHA-256 ")


def test_a_float_model_is_described(tiny_model):
    assert lines(tiny_model)[:2] == [
        "linear layers: 14 F32",
        "bits per weight: 32 in the files; 0.3126 MB in all",
    ]


def test_a_directory_without_a_tokenizer_says_so(directory, tmp_path):
    path = shutil.copytree(directory, tmp_path / "copy")
    (path / "tokenizer.json").unlink()
    assert lines(path)[-1].startswith("tokenizer: no tokenizer.json in ")
