"""Models written as GGUF: ``gguf`` and the project's own reader find the values of the scheme."""

import dataclasses
import re
import shutil

import gguf
import numpy as np
import pytest

from numerics import fake_quantize
from numerics.gguf.entries import ENTRIES
from sim.errors import UserError
from sim.methods.rotations import Rotate
from sim.model.tensors import linear_names, tensor_shapes
from sim.model.yarn import Yarn, attention_scale
from sim.quantized.gguf_keys import ARCHITECTURES
from sim.quantized.writer import TableTypes, write_model
from sim.quantized.written_notes import written_notes
from sim.sources.catalog import open_model
from sim.sweep.recipe import Recipe, Rule
from sim.sweep.recipe_file import make_recipe

Q4_0 = ENTRIES["q4_0"][0]
EXACT = TableTypes(embeddings="keep")


def recipe_of(scheme, match="layers.*"):
    return Recipe(name=scheme.name, rules=(Rule(match=match, weights=scheme),))


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("gguf") / "model"
    return write_model(source, recipe_of(Q4_0), out, EXACT) / "model.gguf"


def expected(source, name, scheme):
    values = source.read(name)
    if name.removesuffix(".weight") not in linear_names(source.config):
        return values
    return np.asarray(fake_quantize(values, scheme))


def test_what_is_read_is_what_a_sweep_computes_with(source, written):
    read = open_model(str(written))
    assert read.config == source.config
    for name in tensor_shapes(source.config):
        assert np.array_equal(read.read(name), expected(source, name, Q4_0)), name


def test_a_rotated_model_is_a_gguf_model_if_nothing_happens_at_run_time(source, tmp_path):
    recipe = make_recipe("q4_0", method="rotate")
    exact = TableTypes(embeddings="keep", head="keep")
    read = open_model(str(write_model(source, recipe, tmp_path / "model", exact)))
    rotated = Rotate().rotated(source)
    assert read.config == rotated.config and not read.config.tie_embeddings
    for name in ("layers.1.self_attn.v_proj.weight", "lm_head.weight", "final_norm.weight"):
        assert np.array_equal(read.read(name), expected(rotated, name, Q4_0)), name
    with pytest.raises(UserError, match="has online Hadamard transforms, which GGUF files can't"):
        write_model(source, make_recipe("q4_0", method="rotate(r4=true)"), tmp_path / "no", EXACT)


def test_the_directory_is_a_model_as_well_unless_it_holds_two(source, written, tmp_path):
    read = open_model(str(written.parent))
    assert read.config == source.config
    ours, theirs = (model.tokenizer().encode("the cat").tolist() for model in (source, read))
    assert ours == theirs
    shutil.copytree(written.parent, tmp_path / "two")
    shutil.copy(written, tmp_path / "two" / "other.gguf")
    with pytest.raises(UserError, match=r"^no config.json in "):
        open_model(str(tmp_path / "two"))


def test_gguf_reads_the_same_values(source, written):
    tensors = {t.name: t for t in gguf.GGUFReader(written).tensors}
    for canonical, stored in [
        ("layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
        ("layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
    ]:
        tensor = tensors[stored]
        assert tensor.tensor_type == gguf.GGMLQuantizationType.Q4_0
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(values, expected(source, canonical, Q4_0))
    # The converter lays the pairs that rotate together side by side.
    query = tensors["blk.0.attn_q.weight"]
    values = gguf.dequantize(query.data, query.tensor_type)
    rows = expected(source, "layers.0.self_attn.q_proj.weight", Q4_0)
    half = source.config.head_dim // 2
    assert np.array_equal(values[:3], rows[[0, half, 1]])


@pytest.mark.parametrize("name", ["mxfp4-gguf", pytest.param("q8_0", marks=pytest.mark.slow)])
def test_other_block_types(source, tmp_path, name):
    scheme = ENTRIES[name][0]
    out = write_model(source, recipe_of(scheme), tmp_path / "model")
    read = open_model(str(out / "model.gguf"))
    tensor = "layers.0.self_attn.k_proj.weight"
    assert np.array_equal(read.read(tensor), expected(source, tensor, scheme))
    stored = read.header.tensors["blk.0.attn_k.weight"]
    assert stored.type.name == scheme.ggml_name


def test_layers_that_are_kept_come_back_too(source, tmp_path):
    out = write_model(source, recipe_of(Q4_0, "*.down_proj"), tmp_path / "model", EXACT)
    read = open_model(str(out / "model.gguf"))
    for name in ("layers.0.mlp.up_proj.weight", "embed_tokens.weight", "final_norm.weight"):
        assert np.array_equal(read.read(name), source.read(name))


def test_the_tokenizer_comes_along(source, written):
    read, original = open_model(str(written)).tokenizer(), source.tokenizer()
    assert read.encode("the cat sat").tolist() == original.encode("the cat sat").tolist()
    assert read.bos_id == original.bos_id


class Changed:
    """A source with another configuration."""

    def __init__(self, source, **changes):
        self.source, self.config = source, dataclasses.replace(source.config, **changes)

    def __getattr__(self, name):
        return getattr(self.source, name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"family": "opt"},
            "a model of the family opt can't be written as GGUF; those that can are "
            + ", ".join(ARCHITECTURES),
        ),
        (
            {"embedding_scale": 2.0},
            "GGUF can't describe this model: its embedding_scale would be read as 1.0, not 2.0",
        ),
    ],
)
def test_a_model_that_gguf_can_not_describe_is_refused(source, tmp_path, changes, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write_model(Changed(source, **changes), recipe_of(Q4_0), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def with_factors(source, factors):
    return Changed(source, rope=dataclasses.replace(source.config.rope, factors=factors))


@pytest.mark.parametrize("attention_factor", [attention_scale(4.0), 1.3])
def test_yarn_is_stored_as_its_parameters(source, tmp_path, attention_factor):
    yarn = Yarn(factor=4.0, original_positions=32, beta_fast=8.0)
    rope = dataclasses.replace(
        source.config.rope, yarn=yarn, attention_factor=float(np.float32(attention_factor))
    )
    changed = Changed(source, rope=rope)
    path = write_model(changed, recipe_of(Q4_0), tmp_path / "model.gguf")
    found = open_model(str(path)).config.rope
    assert found.yarn == yarn
    assert np.float32(found.attention_factor) == np.float32(attention_factor)
    assert written_notes(changed, path, EXACT) == [
        (
            "the file states beta_fast 8 and beta_slow 1 of YaRN, which qsim applies; llama.cpp "
            "ignores them in this architecture and takes 32 and 1"
        )
    ]
    # What no key of GGUF says.
    rope = dataclasses.replace(rope, yarn=dataclasses.replace(yarn, truncate=False))
    with pytest.raises(UserError, match=r"^GGUF can't describe this model: its rope would be"):
        write_model(Changed(source, rope=rope), recipe_of(Q4_0), tmp_path / "no.gguf")


def test_two_tokens_before_a_text_do_not_fit_a_file(source, tmp_path):
    tokenizer = dataclasses.replace(source.tokenizer(), prefix_ids=(7, 8))
    changed = Changed(source)
    changed.tokenizer = lambda: tokenizer
    message = (
        r"^the tokenizer puts 2 tokens before a text, '\(', '\)'; a GGUF file can hold one, so "
        r"write a packed checkpoint \(--out without .gguf\)$"
    )
    with pytest.raises(UserError, match=message):
        write_model(changed, recipe_of(Q4_0), tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_factors_of_rotary_frequencies_are_stored_as_float32(source, tmp_path):
    factors = tuple(1.1 + i for i in range(source.config.rope.dim // 2))
    path = write_model(with_factors(source, factors), recipe_of(Q4_0), tmp_path / "model.gguf")
    found = open_model(str(path))
    assert found.config.rope.factors == tuple(float(np.float32(f)) for f in factors)
    assert "rope_freqs.weight" in found.header.tensors


def test_one_factor_of_all_rotary_frequencies_is_linear_scaling(source, tmp_path):
    factors = (1.1,) * (source.config.rope.dim // 2)
    path = write_model(with_factors(source, factors), recipe_of(Q4_0), tmp_path / "model.gguf")
    found = open_model(str(path))
    assert found.config.rope.factors == factors
    assert found.header.metadata["llama.rope.scaling.type"] == "linear"
