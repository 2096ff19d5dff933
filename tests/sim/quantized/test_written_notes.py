"""Notes that ``qsim quantize`` prints after writing a model."""

import dataclasses

import numpy as np
import pytest

from sim.quantized.writer import TableTypes, write_model
from sim.quantized.written_notes import unwritten_notes, written_notes
from sim.sweep.recipe_file import make_recipe


@dataclasses.dataclass(frozen=True)
class Odd:
    """A model with an embedding that FP16 can't hold."""

    source: object

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, name):
        values = self.source.read(name)
        return values * np.float32(1 + 2**-20) if name.startswith("embed") else values


def test_a_rounded_embedding_is_named_unless_it_is_kept(source, tmp_path):
    odd, recipe = Odd(source), make_recipe("fp4:g32")
    path = write_model(odd, recipe, tmp_path / "model")
    assert written_notes(odd, path, TableTypes()) == [
        "embed_tokens is rounded to FP16; --embeddings keep stores every value"
    ]
    keep = TableTypes(embeddings="keep")
    assert not written_notes(odd, write_model(odd, recipe, tmp_path / "kept", keep), keep)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("w4a8", "--activations int8:token:fp32"),
        ("w4a8kv8", "--activations int8:token:fp32 --kv int8:token:fp32"),
        ("int4", None),
    ],
)
def test_formats_of_activations_and_cache_are_not_in_the_file(name, options):
    line = f"only the weights of {name} are stored; sweep the model with {options}"
    assert unwritten_notes(make_recipe(name)) == ([line] if options else [])


@pytest.mark.parametrize(("family", "is_ignored"), [("mistral", True), ("gemma2", False)])
def test_a_window_that_llama_cpp_ignores_is_named(source, tmp_path, family, is_ignored):
    config = dataclasses.replace(source.config, family=family, sliding_window=64)
    path = tmp_path / "model.gguf"
    path.touch()
    notes = written_notes(Windowed(config), path, TableTypes())
    assert [("64 tokens" in note, "llama.cpp ignores" in note) for note in notes] == (
        [(True, True)] if is_ignored else []
    )


@dataclasses.dataclass(frozen=True)
class Windowed:
    """The configuration of a model, without its weights."""

    config: object
