"""Mixes of GGUF block types against sizes that llama.cpp publishes and rules of its source."""

import dataclasses

import pytest

from numerics.gguf.block_types import BLOCK_TYPES
from roofline.runtime.gguf_mixes import MIXES as PREDICTED
from sim.formats.served import LLAMA_8B, bits
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names
from sim.names.gguf_mix import FALLBACK, MIXES, GgufMix

#: Bits per weight of Llama-3.1-8B, from the table in llama.cpp's tools/quantize/README.md.
PUBLISHED = {
    "q2_k": 3.1593, "q2_k_s": 2.9697, "q3_k_s": 3.6429, "q3_k_m": 3.9960, "q3_k_l": 4.2979,
    "q4_k_s": 4.6672, "q4_k_m": 4.8944, "q5_k_s": 5.5704, "q5_k_m": 5.7036, "q6_k": 6.5633,
    "q8_0": 8.5008, "iq4_xs": 4.4597, "iq4_nl": 4.6818,
}  # fmt: skip


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


def test_predictions_know_every_mix_of_a_sweep():
    assert set(MIXES) <= set(PREDICTED)
