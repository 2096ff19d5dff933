"""Mixes of GGUF block types against sizes that llama.cpp publishes and rules of its source."""

import dataclasses
import math

import pytest
from _helpers.gguf_sizes import PUBLISHED

from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.mixes import FALLBACK, MIXES, UNIFORM, Place
from numerics.gguf.scheme import GgufScheme
from roofline.runtime.serving_format import parse_format
from roofline.workload.memory import weight_bytes
from sim.deployment.shapes import shape_of
from sim.formats.served import LLAMA_8B, bits
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names, tensor_shapes
from sim.names.gguf_mix import GgufMix


@pytest.mark.parametrize("kind", PUBLISHED)
def test_bits_per_weight_are_those_that_llama_cpp_publishes(kind):
    # The published numbers count the norms in float32, which no mix quantizes.
    assert bits(GgufMix(kind)) == pytest.approx(PUBLISHED[kind], abs=2e-3)


def test_every_mix_has_all_matrices_in_block_types():
    for kind in MIXES:
        types = GgufMix(kind).types(LLAMA_8B)
        assert set(types) == {*linear_names(LLAMA_8B), EMBED_TOKENS, LM_HEAD}
        assert set(types.values()) <= set(BLOCK_TYPES)
    assert set(FALLBACK.values()) <= set(BLOCK_TYPES)


def test_half_of_the_layers_are_the_outer_eighths_and_every_third_between():
    types = GgufMix("q4_k_m").types(LLAMA_8B)
    more = [i for i in range(32) if types[f"layers.{i}.mlp.down_proj"] == "q6_k"]
    assert more == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_rows_without_whole_super_blocks_take_small_blocks():
    config = dataclasses.replace(LLAMA_8B, hidden_size=576, heads=9, kv_heads=3)
    types = GgufMix("q4_k_m").types(config)
    assert types["layers.0.self_attn.q_proj"] == "q5_0"
    assert types["layers.0.self_attn.v_proj"] == "q8_0"
    assert types["layers.0.mlp.down_proj"] == "q6_k" and types[LM_HEAD] == "q8_0"


#: Llama 3.1 8B and changes to it: a key for each query, the layers of a 70B model, few layers, rows
#: without whole super-blocks, q, k and v in one matrix, a head with the weights of the embedding.
CONFIGS = {
    "8B": LLAMA_8B,
    "no shared keys": dataclasses.replace(LLAMA_8B, kv_heads=32),
    "80 layers": dataclasses.replace(LLAMA_8B, layers=80),
    "22 layers": dataclasses.replace(LLAMA_8B, layers=22, kv_heads=16),
    "short rows": dataclasses.replace(LLAMA_8B, hidden_size=576, heads=9, kv_heads=3),
    "fused": dataclasses.replace(LLAMA_8B, family="phi3"),
    "tied": dataclasses.replace(LLAMA_8B, tie_embeddings=True),
}


def file_bytes(types, config):
    """Return the bytes of matrices in block types, and of all else in FP16."""
    total = 0.0
    for name, shape in tensor_shapes(config).items():
        kind = types.get(name.removesuffix(".weight"))
        scheme = None if kind is None else GgufScheme(type_name=kind)
        per_weight = 16.0 if scheme is None else scheme.bits_per_weight(shape, kind="full")
        total += per_weight * math.prod(shape) / 8
    return total


@pytest.mark.parametrize("kind", MIXES)
def test_predictions_have_the_types_of_files(kind):
    mix = GgufMix(kind)
    for name, config in CONFIGS.items():
        shape = shape_of(config, name=name, title=name)
        predicted = weight_bytes(shape, parse_format(mix.name))
        assert predicted == pytest.approx(file_bytes(mix.types(config), config), rel=1e-12), name


@pytest.mark.parametrize("kind", UNIFORM)
def test_a_block_type_alone_is_that_of_all_linear_layers_in_predictions(kind):
    shape = shape_of(LLAMA_8B, name="8B", title="8B")
    base = next(mix for mix in MIXES.values() if mix.base == kind)
    types = {name: kind for name in linear_names(LLAMA_8B)}
    types |= {EMBED_TOKENS: base.embedding_type, LM_HEAD: base.head_type(LLAMA_8B.hidden_size)}
    predicted = weight_bytes(shape, parse_format(kind))
    assert predicted == pytest.approx(file_bytes(types, LLAMA_8B), rel=1e-12)


def test_attention_is_wider_beside_eight_experts():
    place = Place(layer=5, layers=32, queries_per_key=4, experts=8)
    found = {
        name: [MIXES[name].linear_type(member, place) for member in ("q", "k", "v", "o", "down")]
        for name in ("q4_k_m", "q3_k_l", "q4_0")
    }
    assert found == {
        "q4_k_m": ["q4_k", "q8_0", "q8_0", "q5_k", "q4_k"],
        "q3_k_l": ["q3_k", "q8_0", "q8_0", "q3_k", "q5_k"],
        "q4_0": ["q4_0", "q8_0", "q8_0", "q4_0", "q4_0"],
    }
    assert UNIFORM["q4_k"].linear_type("v", place) == "q4_k"
