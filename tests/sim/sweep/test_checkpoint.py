"""Checkpoints as points of a sweep, against their original."""

import json

import numpy as np
import pytest
from _helpers.layouts import int4_packed, int4_settings, requantized

from sim.errors import UserError
from sim.sweep.checkpoint import checkpoint_names
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

INPUTS = {"input_activations": {"num_bits": 8, "strategy": "token", "dynamic": True}}


@pytest.fixture(scope="module")
def directories(tiny_model, tmp_path_factory):
    """Return directories of one quantized model, without and with quantized activations."""
    path = tmp_path_factory.mktemp("checkpoints")
    plain = requantized(tiny_model, path / "plain", int4_settings(), int4_packed)
    inputs = requantized(tiny_model, path / "w4a8", int4_settings(group=INPUTS), int4_packed)
    return plain, inputs


def options(model, out, text, **more):
    given = {"model": str(model), "text": text, "tokens": 512, "context": 64, "out": out}
    return SweepOptions(**given | more, json=True)


def test_a_checkpoint_is_a_point_against_its_original(
    directories, tiny_model, text_file, tmp_path, capsys
):
    given = tuple(map(str, directories))
    command = options(tiny_model, tmp_path, text_file, checkpoints=given)
    reference, plain, inputs = run_sweep(command).results
    assert [p.recipe for p in (reference, plain, inputs)] == ["float32", "plain", "w4a8"]
    assert 0.02 < plain.kl_mean < 0.2 and plain.kl_mean != inputs.kl_mean
    assert plain.bits_per_weight == 4.5 and plain.weight_bytes == 4.5 * 61440 / 8
    assert plain.definition == "checkpoint: 14 int4_full:g32:fp16"
    assert inputs.definition.endswith("; activations int8_full:token:fp32")
    assert 15 < np.median(list(plain.sqnr_db.values())) < 25 and len(plain.sqnr_db) == 14
    assert plain.notes == ("plain: 14 matrices stored as compressed-tensors 0.20.1.",)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["recipe"] for line in lines][1:3] == ["plain", "w4a8"]


def test_a_checkpoint_alone_is_measured_with_the_activations_that_it_asks_for(
    directories, text_file, tmp_path
):
    reference, own = run_sweep(options(directories[1], tmp_path, text_file)).results
    assert own.definition.startswith("layers.*.self_attn.q_proj: activations int8_full")
    assert own.kl_mean > 0 and own.perplexity != reference.perplexity
    (alone,) = run_sweep(options(directories[0], tmp_path / "2", text_file)).results
    assert alone.recipe == "float32"


def test_a_checkpoint_of_another_model_is_refused(directories, tiny_model, text_file, tmp_path):
    config = json.loads((tiny_model / "config.json").read_text())
    other = requantized(tiny_model, tmp_path / "x", int4_settings(), int4_packed)
    settings = {"quantization_config": int4_settings(), "rms_norm_eps": 1e-6}
    (other / "config.json").write_text(json.dumps(config | settings))
    command = options(tiny_model, tmp_path, text_file, checkpoints=(str(other),))
    message = "^x is not a checkpoint of tiny0?: norm_eps is 1e-06, not 1e-05; give its original"
    with pytest.raises(UserError, match=message):
        run_sweep(command)


def test_a_checkpoint_with_another_tokenizer_is_refused(
    directories, tiny_model, text_file, tmp_path
):
    other = requantized(tiny_model, tmp_path / "x", int4_settings(), int4_packed)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    command = options(tiny_model, tmp_path, text_file, checkpoints=(str(other),))
    with pytest.raises(UserError, match="the tokenizer of x gives other tokens of letters"):
        run_sweep(command)


def test_names_of_checkpoints_are_short_and_distinct():
    assert checkpoint_names(["a/gptq", "b/gptq/", "c/awq/"]) == ["a/gptq", "b/gptq/", "awq"]
