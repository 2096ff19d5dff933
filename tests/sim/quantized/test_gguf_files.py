"""GGUF files for llama.cpp: every key and tensor that its loader reads, and its quantizer's bytes.

The lists are those of ``load_hparams``, ``load_arch_hparams`` and ``load_arch_tensors`` in
llama.cpp 0.5.0; ``tests/golden/gguf`` holds what its quantizer makes of the embedded model.
"""

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from numerics.gguf.scheme import GgufScheme
from sim.errors import UserError
from sim.model.tensors import linear_names
from sim.names.gguf_mix import FILE_TYPES, GgufMix
from sim.quantized.gguf_writer import GgufPlan, quantized_blocks, write_gguf
from sim.sources.embedded import open_embedded
from sim.sources.gguf_layout import read_stored, stored_tensors
from sim.sources.hf_directory import open_directory
from sim.sweep.recipe import embedding_names

GOLDEN = Path(__file__).parents[2] / "golden"
NEEDED = (
    "block_count", "context_length", "embedding_length", "feed_forward_length",
    "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "vocab_size",
)  # fmt: skip
RMS, LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
ROPE = ("rope.dimension_count", "rope.freq_base")
LLAMA_TENSORS = {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate",
                 "ffn_up", "ffn_down"}  # fmt: skip
#: By family: architecture, other keys, tensors of a layer with a weight.
LOADED = {
    "llama": ("llama", (RMS, *ROPE), LLAMA_TENSORS),
    "mistral": ("llama", (RMS, *ROPE, "attention.sliding_window"), LLAMA_TENSORS),
    "qwen2": ("qwen2", (RMS, *ROPE), LLAMA_TENSORS),
    "qwen3": ("qwen3", (RMS, *ROPE), LLAMA_TENSORS | {"attn_q_norm", "attn_k_norm"}),
    "phi3": (
        "phi3",
        (RMS, *ROPE, "attention.sliding_window"),
        {"attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"},
    ),
    "gpt2": (
        "gpt2",
        (LAYER,),
        {"attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"},
    ),
    "phi": ("phi2", (LAYER, *ROPE), LLAMA_TENSORS - {"ffn_gate", "ffn_norm"}),
}


def write_float(source, path):
    """Write a model without its tokenizer, in floating point."""
    kept = frozenset((*linear_names(source.config), *embedding_names(source.config)))
    nothing = GgufPlan(file_type=0, schemes={}, kept=kept)
    write_gguf(source, nothing, path, {"tokenizer.ggml.model": "none"})
    return gguf.GGUFReader(path)


@pytest.mark.parametrize("family", LOADED)
def test_a_file_has_every_key_and_tensor_that_the_loader_reads(family, tmp_path):
    source = open_directory(GOLDEN / "families" / family)
    reader = write_float(source, tmp_path / "model.gguf")
    architecture, keys, tensors = LOADED[family]
    wanted = {f"{architecture}.{key}" for key in (*NEEDED, *keys)}
    assert wanted <= set(reader.fields)
    assert reader.fields["general.architecture"].contents() == architecture
    assert reader.fields["general.quantization_version"].contents() == 2
    names = {t.name for t in reader.tensors}
    layer = {n.split(".")[2] for n in names if n.startswith("blk.0.") and n.endswith(".weight")}
    assert layer == tensors
    assert {"token_embd.weight", "output_norm.weight"} <= names
    assert ("output.weight" in names) == (not source.config.tie_embeddings)


def test_the_norms_of_gemma_are_stored_with_their_one(tmp_path):
    source = open_directory(GOLDEN / "families" / "gemma2")
    with pytest.raises(UserError, match="its attention_scale would be read as"):
        write_float(source, tmp_path / "model.gguf")
    stored = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    norm = source.read("layers.0.attn_norm.weight")
    assert np.array_equal(stored["blk.0.attn_norm.weight"], norm + np.float32(1))


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "gguf" / "llama_cpp.json").read_text())


@pytest.mark.parametrize("name", FILE_TYPES)
def test_each_tensor_has_the_type_that_llama_cpp_gives_it(golden, name):
    if name not in golden:
        assert name in ("q4_1", "q5_0", "q2_k_s", "tq1_0", "tq2_0")
        return
    config = open_embedded().config
    types = GgufMix(name).types(config)
    ours = {t.name: types[t.layers[0]].upper() for t in stored_tensors(config) if t.is_matrix}
    assert ours == {t: kind for t, (kind, _) in golden[name]["tensors"].items()}
    assert FILE_TYPES[name] == golden[name]["file_type"]


def digest(blocks: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(blocks).tobytes()).hexdigest()[:32]


def test_blocks_are_those_of_llama_cpp(golden):
    wanted, source = golden["q4_k_m"]["tensors"], open_embedded()
    stored = {t.name: t for t in stored_tensors(source.config)}
    for name in ("blk.1.attn_q.weight", "blk.2.ffn_down.weight"):
        kind, expected = wanted[name]
        values = read_stored(source, stored[name])
        assert digest(quantized_blocks(values, GgufScheme(type_name=kind.lower()))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["q4_k_s", "q3_k_m", "iq4_xs", "q2_k", "q5_k_m"])
def test_a_file_has_the_bytes_of_llama_cpp(golden, tmp_path, name):
    source, path = open_embedded(), tmp_path / "model.gguf"
    chosen = GgufPlan(file_type=FILE_TYPES[name], schemes=GgufMix(name).schemes(source.config))
    write_gguf(source, chosen, path, {"tokenizer.ggml.model": "none"})
    tensors = [t for t in gguf.GGUFReader(path).tensors if t.tensor_type.name != "F32"]
    ours = {t.name: [t.tensor_type.name, digest(t.data)] for t in tensors}
    assert ours == golden[name]["tensors"]
