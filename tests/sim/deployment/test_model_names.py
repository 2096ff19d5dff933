"""One name for a model in every command."""

import pytest

from sim.deployment.model_names import find_shape
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
