"""The configuration that the metadata of a GGUF file describes, by way of Hugging Face's fields.

Each architecture is translated into the ``config.json`` of its family, so that one reader decides
what is supported; the rotary embedding and the biases, of which GGUF says more, are put in after.
A key of the architecture that is not read is refused.

Sources: keys in the GGUF specification of ggml (docs/gguf.md); defaults of absent keys in
``load_hparams`` of ``llama-model.cpp``, ``llama-hparams.h`` and ``models/ARCHITECTURE.cpp`` of
llama.cpp at commit 0c1e57098. Where they differ from the families' defaults in transformers,
llama.cpp's hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import config_from_hf
from sim.sources.gguf_header import GgufHeader
from sim.sources.gguf_keys import Keys
from sim.sources.gguf_rope import read_rope

#: Blocks of Gemma-2 27B, the one size whose attention scale is not that of its head size.
_GEMMA2_27B_BLOCKS = 46
#: Architectures whose heads rotate in part.
_PARTIAL_ROTATION = ("phi2", "phi3")
#: Fields of :class:`ModelConfig` that a bias in the first block switches on, by its tensors.
_BIASES: Mapping[str, tuple[str, ...]] = {
    "qkv_bias": ("blk.0.attn_q.bias", "blk.0.attn_qkv.bias"),
    "attention_output_bias": ("blk.0.attn_output.bias",),
    "mlp_bias": ("blk.0.ffn_up.bias",),
    "head_bias": ("output.bias",),
}
#: Biases that an architecture may have or lack.
_OPTIONAL_BIASES: Mapping[str, tuple[str, ...]] = {
    "llama": ("qkv_bias", "attention_output_bias", "mlp_bias"),
    "qwen2": ("qkv_bias", "head_bias"),
    "qwen3": ("qkv_bias",),
    "phi3": ("qkv_bias",),
    "gemma2": ("qkv_bias",),
    "gpt2": (),
    "phi2": ("qkv_bias",),
}


def config_from_gguf(header: GgufHeader) -> ModelConfig:
    """Return the configuration of the model in a GGUF file."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise UserError(
            f"{header.path} has the architecture {architecture!r}; supported are "
            f"{', '.join(ARCHITECTURES)}"
        )
    _check_kind(header)
    keys = Keys(header, architecture)
    try:
        config = config_from_hf(ARCHITECTURES[architecture](keys))
        if config.rope is not None:
            partial = architecture in _PARTIAL_ROTATION
            rope = read_rope(keys, config.head_dim, partial=partial)
            config = replace(config, rope=rope)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{header.path}: {error}") from None
    keys.finish()
    biases: dict[str, Any] = {
        name: keys.has_tensor(*_BIASES[name]) for name in _OPTIONAL_BIASES[architecture]
    }
    return replace(config, **biases)


def _check_kind(header: GgufHeader) -> None:
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise UserError(f"{header.path} holds a GGUF {kind!s}, not a model")
    pieces = header.metadata.get("split.count", 0)
    if pieces not in (0, 1):
        raise UserError(
            f"{header.path} is one of {pieces!s} pieces of a model; "
            "join them with llama.cpp's gguf-split --merge"
        )


def _shape(keys: Keys) -> dict[str, Any]:
    """Translate the sizes; a head is an equal part of the hidden size unless the file says more."""
    heads, hidden = keys.integer("attention.head_count"), keys.integer("embedding_length")
    equal_part = hidden // max(heads, 1)
    head_dim = keys.integer("attention.key_length", equal_part)
    if keys.integer("attention.value_length", equal_part) != head_dim:
        raise UserError(f"{keys.header.path}: keys and values must have heads of one size")
    return {
        "vocab_size": keys.rows("token_embd.weight"),
        "hidden_size": hidden,
        "intermediate_size": keys.integer("feed_forward_length"),
        "num_hidden_layers": keys.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer("attention.head_count_kv", heads),
        "max_position_embeddings": keys.integer("context_length"),
        "head_dim": head_dim,
        "tie_word_embeddings": not keys.has_tensor("output.weight"),
    }


def _even_heads(keys: Keys) -> dict[str, Any]:
    """Translate the sizes of a family whose heads are equal parts of the hidden size."""
    shape = _shape(keys)
    if shape.pop("head_dim") * shape["num_attention_heads"] != shape["hidden_size"]:
        raise UserError(f"{keys.header.path}: heads must be equal parts of the hidden size")
    return shape


def _rms(keys: Keys) -> dict[str, Any]:
    return {"rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")}


def _window(keys: Keys, default: int = 0) -> int | None:
    """Return the tokens that a query sees; 0 means all."""
    return keys.integer("attention.sliding_window", default) or None


def _llama(keys: Keys) -> dict[str, Any]:
    raw = {"model_type": "llama"} | _shape(keys) | _rms(keys)
    if window := _window(keys):  # an early Mistral
        raw |= {"model_type": "mistral", "sliding_window": window}
    return raw


def _qwen2(keys: Keys) -> dict[str, Any]:
    return {"model_type": "qwen2"} | _shape(keys) | _rms(keys)


def _qwen3(keys: Keys) -> dict[str, Any]:
    return {"model_type": "qwen3"} | _shape(keys) | _rms(keys)


def _phi3(keys: Keys) -> dict[str, Any]:
    raw: dict[str, Any] = {"model_type": "phi3", "sliding_window": _window(keys)}
    return raw | _even_heads(keys) | _rms(keys)


def _gemma2(keys: Keys) -> dict[str, Any]:
    raw = {"model_type": "gemma2"} | _shape(keys) | _rms(keys)
    base = keys.number("rope.freq_base", 10000.0)
    if keys.number("rope.freq_base_swa", base) != base:
        raise keys.wrong("rope.freq_base_swa", f"that of the other layers, {base}")
    is_27b = raw["num_hidden_layers"] == _GEMMA2_27B_BLOCKS
    per_head = raw["hidden_size"] // max(raw["num_attention_heads"], 1)
    return raw | {
        "query_pre_attn_scalar": per_head if is_27b else raw["head_dim"],
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
        "sliding_window": _window(keys, 4096),
        "layer_types": _layer_types(keys, raw["num_hidden_layers"]),
    }


def _layer_types(keys: Keys, layers: int) -> list[str]:
    """Return which layers have a window: those flagged, or all but the last of each ``n``."""
    pattern = keys.get("attention.sliding_window_pattern")
    if isinstance(pattern, np.ndarray):
        windowed = [bool(flag) for flag in pattern]
    else:
        period = keys.integer("attention.sliding_window_pattern", 2)
        windowed = [period == 0 or index % period < period - 1 for index in range(layers)]
    return ["sliding_attention" if flag else "full_attention" for flag in windowed]


def _gpt2(keys: Keys) -> dict[str, Any]:
    shape = _even_heads(keys)
    if shape["num_key_value_heads"] != shape["num_attention_heads"]:
        raise UserError(f"{keys.header.path}: gpt2 can't have fewer key than query heads")
    return {
        "model_type": "gpt2",
        "vocab_size": shape["vocab_size"],
        "n_embd": shape["hidden_size"],
        "n_inner": shape["intermediate_size"],
        "n_layer": shape["num_hidden_layers"],
        "n_head": shape["num_attention_heads"],
        "n_positions": shape["max_position_embeddings"],
        "layer_norm_epsilon": keys.number("attention.layer_norm_epsilon"),
        "tie_word_embeddings": shape["tie_word_embeddings"],
    }


def _phi2(keys: Keys) -> dict[str, Any]:
    epsilon = {"layer_norm_eps": keys.number("attention.layer_norm_epsilon")}
    return {"model_type": "phi"} | _even_heads(keys) | epsilon


#: Translation of each ``general.architecture``. ``llama`` includes Mistral and SmolLM.
ARCHITECTURES: Mapping[str, Callable[[Keys], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gpt2": _gpt2,
    "phi2": _phi2,
}
