"""One name for a model in every command."""

from dataclasses import replace

import pytest

from sim.deployment.command import RooflineOptions, run_roofline
from sim.deployment.model_names import find_shape, storage_note
from sim.deployment.shapes import shape_of
from sim.errors import UserError
from sim.sources.catalog import open_model


def test_a_model_to_sweep_can_be_predicted_by_the_same_name(tiny_model):
    source = open_model(str(tiny_model))
    shape = find_shape(str(tiny_model))
    assert shape == shape_of(source.config, name=tiny_model.name, title=source.name)
    assert (shape.layers, shape.hidden, shape.kv_heads, shape.tied) == (2, 64, 2, True)
    assert find_shape("embedded").params == 3_475_712


def test_a_known_model_has_its_built_in_sizes_without_being_fetched():
    assert find_shape("smollm2-135m-instruct") == find_shape("smollm2-135m")


def test_sizes_alone_cannot_be_swept():
    with pytest.raises(UserError, match=r"^of llama-3.1-8b only the sizes are built in, for qsim"):
        open_model("llama-3.1-8b")


def test_a_file_with_types_of_its_own_counts_as_fp16_and_says_so(tmp_path):
    (tmp_path / "qsim.json").touch()
    for model in (str(tmp_path), "small.gguf"):
        assert "counts as FP16, whatever types it stores; give those" in (storage_note(model) or "")
    assert storage_note("embedded") is None


def test_only_the_scenarios_of_that_file_have_the_note(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.deployment.command.storage_note", {"embedded": "its note"}.get)
    options = RooflineOptions(
        models=("embedded", "llama-2-7b"), machines=("a100-sxm-80gb",), prompt=128, output=64
    )
    assert [one.model for one in run_roofline(options) if "its note" in one.notes] == ["embedded"]
    named = replace(options, formats=("w4a16",))
    assert not any("its note" in one.notes for one in run_roofline(named))
