"""Tiny models on disk: a Hugging Face directory and a GGUF file of the same weights."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from sim.model.config import ModelConfig
from sim.model.families import config_from_hf, hf_recipe, tensor_shapes

VOCAB = 264
_SIZES = {"vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}

#: A config.json of each architecture that GGUF files have.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **_SIZES, **_HEADS, "rms_norm_eps": 1e-5},
    "qwen2": {"model_type": "qwen2", **_SIZES, **_HEADS, "rope_theta": 1e6},
    "qwen3": {"model_type": "qwen3", **_SIZES, **_HEADS, "head_dim": 32},
    "phi3": {"model_type": "phi3", **_SIZES, **_HEADS, "sliding_window": 60},
    "gemma2": {
        "model_type": "gemma2",
        **_SIZES,
        **_HEADS,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": 16,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": VOCAB,
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 128,
        "n_inner": 96,
    },
    "phi2": {
        "model_type": "phi",
        **_SIZES,
        **_HEADS,
        "num_key_value_heads": 4,
        "partial_rotary_factor": 0.5,
    },
}

#: GGUF names of the modules of each architecture; "|" joins the members of a fused matrix.
_COMMON = {
    "embed_tokens": "token_embd",
    "embed_positions": "position_embd",
    "final_norm": "output_norm",
    "lm_head": "output",
    "attn_norm": "attn_norm",
    "mlp_norm": "ffn_norm",
    "self_attn.o_proj": "attn_output",
    "mlp.down_proj": "ffn_down",
}
_QKV_APART = {f"self_attn.{x}_proj": f"attn_{x}" for x in "qkv"}
_QKV_JOINT = {"self_attn.q_proj|self_attn.k_proj|self_attn.v_proj": "attn_qkv"}
_MLP_APART = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
GGUF_NAMES = {
    "llama": _COMMON | _QKV_APART | _MLP_APART,
    "qwen2": _COMMON | _QKV_APART | _MLP_APART,
    "qwen3": _COMMON
    | _QKV_APART
    | _MLP_APART
    | {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"},
    "phi3": _COMMON | _QKV_JOINT | {"mlp.gate_proj|mlp.up_proj": "ffn_up"},
    "gemma2": _COMMON
    | _QKV_APART
    | _MLP_APART
    | {"attn_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"},
    "gpt2": _COMMON | _QKV_JOINT | {"mlp.up_proj": "ffn_up"},
    "phi2": _COMMON | _QKV_JOINT | {"mlp.up_proj": "ffn_up"},
}

Tensors = dict[str, np.ndarray]


def random_tensors(config: ModelConfig, seed: int = 0) -> Tensors:
    """Weights by canonical name, of every tensor that the model needs."""
    random = np.random.default_rng(seed)
    shapes = tensor_shapes(config).items()
    return {n: random.standard_normal(s, np.float32) for n, s in shapes}


def raw_tensors(config: ModelConfig, tensors: Tensors) -> Tensors:
    """Return canonical weights under Hugging Face's names."""
    raw: Tensors = {}
    for name, tensor in tensors.items():
        recipe = hf_recipe(config, name)
        stored = raw.setdefault(recipe.name, np.empty(recipe.shape, np.float32))
        (stored.T if recipe.transpose else stored)[recipe.start : recipe.stop] = tensor
    return raw


def byte_vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a tiny byte-level BPE; the last token is a special one."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*tokens, "Ġt", "he", "Ġthe", "11", "<|end|>"], ["Ġ t", "h e", "Ġt he", "1 1"]


def tiny_tokenizer() -> Tokenizer:
    tokens, merges = byte_vocabulary()
    pairs = [tuple(m.split(" ")) for m in merges]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True, normalized=False)])
    return tokenizer


def write_directory(path: Path, raw_config: dict[str, Any], raw: Tensors, shards: int = 1) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(raw_config))
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    if shards == 1:
        save_file(raw, path / "model.safetensors")
        return path
    weight_map = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {n: raw[n] for n in list(raw)[shard::shards]}
        save_file(part, path / name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def converter_permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to the rows of q and k (LlamaModel.permute)."""
    rows = weights.shape[0]
    pairs = weights.reshape(heads, 2, rows // heads // 2, *weights.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weights.shape)


def gguf_tensors(architecture: str, config: ModelConfig, tensors: Tensors) -> Tensors:
    """Return canonical weights under GGUF's names, as the converter would store them."""
    stored: Tensors = {}
    layers = [("", "")] + [(f"layers.{i}.", f"blk.{i}.") for i in range(config.layers)]
    for prefix, gguf_prefix in layers:
        for modules, gguf_name in GGUF_NAMES[architecture].items():
            for kind in ("weight", "bias"):
                names = [f"{prefix}{m}.{kind}" for m in modules.split("|")]
                parts = [
                    _as_stored(architecture, config, n, tensors) for n in names if n in tensors
                ]
                if parts:
                    stored[f"{gguf_prefix}{gguf_name}.{kind}"] = np.concatenate(parts)
    return stored


def _as_stored(architecture: str, config: ModelConfig, name: str, tensors: Tensors) -> np.ndarray:
    tensor = tensors[name]
    if architecture == "llama" and ".q_proj." in name:
        return converter_permute(tensor, config.heads)
    if architecture == "llama" and ".k_proj." in name:
        return converter_permute(tensor, config.kv_heads)
    if architecture == "gemma2" and name.endswith("norm.weight"):
        return tensor + np.float32(1)
    return tensor


def write_gguf(
    path: Path,
    architecture: str,
    raw_config: dict[str, Any],
    stored: Tensors,
    *,
    kind: Type = Type.F32,
    edit: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    tag: str = "smollm",
    plain: tuple[str, ...] = (),
) -> Path:
    """Write a GGUF file with matrices stored as ``kind``, ``plain`` and the rest as they are."""
    config = config_from_hf(raw_config)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    if config.norm == "rms":
        writer.add_layer_norm_rms_eps(config.norm_eps)
    else:
        writer.add_layer_norm_eps(config.norm_eps)
    if config.rope is not None:
        writer.add_rope_dimension_count(config.rope.dim)
        writer.add_rope_freq_base(config.rope.theta)
    if config.head_dim * config.heads != config.hidden_size:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if config.attention_softcap is not None:
        writer.add_attn_logit_softcapping(config.attention_softcap)
        writer.add_final_logit_softcapping(config.final_softcap)
    if config.sliding_window is not None:
        writer.add_sliding_window(config.sliding_window)
    tokens, merges = byte_vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tag)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 1) + [3])
    writer.add_token_merges(merges)
    for name, tensor in stored.items():
        if kind != Type.F32 and name.startswith("blk.") and tensor.ndim == 2 and name not in plain:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    edit(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The functions and tables of this file."""
    return sys.modules[__name__]
