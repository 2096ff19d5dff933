"""The configuration that the metadata of a GGUF file describes, by way of Hugging Face's fields.

Key names: the GGUF specification of ggml (docs/gguf.md) and llama.cpp's converter. Each
architecture is translated into the ``config.json`` of its family, so that one reader decides what
is supported. A key of the architecture that nobody reads is refused.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import config_from_hf
from sim.sources.gguf_header import GgufHeader
from sim.sources.gguf_tensors import read_rows

#: Keys that say nothing of the mathematics.
_HARMLESS = frozenset({"vocab_size", "rope.scaling.finetuned", "tensor_data_layout"})
#: Keys that switch a part on; with these values it stays off.
_SWITCHED_OFF: Mapping[str, object] = {
    "expert_count": 0,
    "expert_used_count": 0,
    "attention.causal": True,
    "pooling_type": 0,
}
#: Blocks of Gemma-2 27B, the one size whose attention scale is not that of its head size.
_GEMMA2_27B_BLOCKS = 46


def config_from_gguf(header: GgufHeader) -> ModelConfig:
    """Return the configuration of the model in a GGUF file."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise UserError(
            f"{header.path} has the architecture {architecture!r}; supported are "
            f"{', '.join(ARCHITECTURES)}"
        )
    _check_kind(header)
    keys = _Keys(header, architecture)
    raw = ARCHITECTURES[architecture](keys)
    keys.finish()
    try:
        return _with_rope_freqs(config_from_hf(raw), header)
    except ValueError as error:
        raise UserError(f"{header.path}: {error}") from None


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


class _Keys:
    """Typed access to the metadata keys of one architecture; remembers which were read."""

    def __init__(self, header: GgufHeader, architecture: str) -> None:
        self.header = header
        self.prefix = f"{architecture}."
        self.read: set[str] = set()

    def _get(self, key: str) -> object:
        self.read.add(self.prefix + key)
        return self.header.metadata.get(self.prefix + key)

    def _wrong(self, key: str, rule: str) -> UserError:
        value = self.header.metadata.get(self.prefix + key, "nothing")
        shown = f"{type(value).__name__} of {len(value)}" if np.ndim(value) else repr(value)  # type: ignore[arg-type]
        return UserError(f"{self.header.path}: {self.prefix}{key} must be {rule}, not {shown:.60}")

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key)
        if value is None and default is not None:
            return default
        if type(value) is not int:
            raise self._wrong(key, "one integer for the whole model")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a float32 as the shortest decimal that stands for it: 1e-5, not 9.99999975e-6."""
        value = self._get(key)
        if value is None and default is not None:
            return default
        if type(value) is not float:
            raise self._wrong(key, "a floating-point number")
        with np.errstate(over="ignore"):
            return float(str(np.float32(value)))

    def text(self, key: str, default: str) -> str:
        value = self._get(key)
        if not isinstance(value, str | None):
            raise self._wrong(key, "a string")
        return default if value is None else value

    def has(self, key: str) -> bool:
        return self.prefix + key in self.header.metadata

    def has_tensor(self, name: str) -> bool:
        return name in self.header.tensors

    def rows(self, tensor: str) -> int:
        if tensor not in self.header.tensors:
            raise UserError(f"{self.header.path} has no tensor {tensor}")
        return self.header.tensors[tensor].shape[0]

    def finish(self) -> None:
        """Refuse keys that nobody read and that might change the mathematics."""
        for full, value in self.header.metadata.items():
            key = full.removeprefix(self.prefix)
            if key == full or full in self.read or key in _HARMLESS:
                continue
            if key in _SWITCHED_OFF and _SWITCHED_OFF[key] == value:
                continue
            raise UserError(
                f"{self.header.path}: metadata key {full} is not supported; it may change what "
                "the model computes, so it can't be ignored"
            )


def _shape(keys: _Keys) -> dict[str, Any]:
    """Translate the sizes; a head is an equal part of the hidden size unless the file says more."""
    heads, hidden = keys.integer("attention.head_count"), keys.integer("embedding_length")
    head_dim = keys.integer("attention.key_length", hidden // max(heads, 1))
    if keys.integer("attention.value_length", head_dim) != head_dim:
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


def _rope(keys: _Keys, head_dim: int, *, partial: bool = False) -> dict[str, Any]:
    """Translate the rotary embedding, without the factors that are stored as tensors."""
    rotating = keys.integer("rope.dimension_count", head_dim)
    raw: dict[str, Any] = {"rope_theta": keys.number("rope.freq_base", 10000.0)}
    if rotating != head_dim:
        if not partial or not 0 < rotating < head_dim:
            raise UserError(
                f"{keys.header.path}: {rotating} of {head_dim} values of a head rotate, which "
                "this architecture does not support"
            )
        # Half a value more, since the reader rounds the product with the head size down.
        raw["partial_rotary_factor"] = (rotating + 0.5) / head_dim
    scaling = keys.text("rope.scaling.type", "none")
    factor = keys.number("rope.scaling.factor", 1.0)
    factor *= keys.number("rope.scale_linear", 1.0)
    if scaling != "none" or factor != 1.0:
        raw["rope_scaling"] = {"rope_type": scaling, "factor": factor}
    return raw


def _even_heads(keys: _Keys) -> tuple[dict[str, Any], int]:
    """Translate the sizes of a family whose heads are equal parts of the hidden size."""
    shape = _shape(keys)
    head_dim: int = shape.pop("head_dim")
    if head_dim * shape["num_attention_heads"] != shape["hidden_size"]:
        raise UserError(f"{keys.header.path}: heads must be equal parts of the hidden size")
    return shape, head_dim


def _rms(keys: _Keys) -> dict[str, Any]:
    return {"rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")}


def _plain(keys: _Keys, model_type: str) -> dict[str, Any]:
    """Translate what the families around Llama have in common."""
    shape = _shape(keys)
    return {"model_type": model_type} | shape | _rms(keys) | _rope(keys, shape["head_dim"])


def _llama(keys: _Keys) -> dict[str, Any]:
    raw = _plain(keys, "llama") | {
        "attention_bias": keys.has_tensor("blk.0.attn_q.bias"),
        "mlp_bias": keys.has_tensor("blk.0.ffn_up.bias"),
    }
    if keys.has("attention.sliding_window"):  # an early Mistral
        del raw["attention_bias"], raw["mlp_bias"]
        window = {"sliding_window": keys.integer("attention.sliding_window")}
        raw |= {"model_type": "mistral"} | window
    return raw


def _qwen2(keys: _Keys) -> dict[str, Any]:
    return _plain(keys, "qwen2")


def _qwen3(keys: _Keys) -> dict[str, Any]:
    return _plain(keys, "qwen3")


def _phi3(keys: _Keys) -> dict[str, Any]:
    shape, head_dim = _even_heads(keys)
    window = keys.integer("attention.sliding_window", 0)  # 0 is how the converter says none
    raw: dict[str, Any] = {"model_type": "phi3", "sliding_window": window or None}
    raw |= shape | _rms(keys) | _rope(keys, head_dim, partial=True)
    context = keys.integer("rope.scaling.original_context_length", 4096)
    raw["original_max_position_embeddings"] = context
    attention_factor = keys.number("rope.scaling.attn_factor", 1.0)
    if keys.has_tensor("rope_factors_short.weight"):
        raw["rope_scaling"] = {
            "rope_type": "longrope",
            "short_factor": _factors(keys.header, "rope_factors_short.weight"),
            "long_factor": _factors(keys.header, "rope_factors_long.weight"),
            "attention_factor": attention_factor,
        }
    return raw


def _gemma2(keys: _Keys) -> dict[str, Any]:
    raw = _plain(keys, "gemma2")
    is_27b = raw["num_hidden_layers"] == _GEMMA2_27B_BLOCKS
    per_head = raw["hidden_size"] // max(raw["num_attention_heads"], 1)
    return raw | {
        "query_pre_attn_scalar": per_head if is_27b else raw["head_dim"],
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
        "sliding_window": keys.integer("attention.sliding_window", 4096),
    }


def _gpt2(keys: _Keys) -> dict[str, Any]:
    shape, _ = _even_heads(keys)
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


def _phi2(keys: _Keys) -> dict[str, Any]:
    shape, head_dim = _even_heads(keys)
    rope = {"partial_rotary_factor": 1.0} | _rope(keys, head_dim, partial=True)
    epsilon = {"layer_norm_eps": keys.number("attention.layer_norm_epsilon")}
    return {"model_type": "phi"} | shape | rope | epsilon


#: Translation of each ``general.architecture``. ``llama`` includes Mistral and SmolLM.
ARCHITECTURES: Mapping[str, Callable[[_Keys], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gpt2": _gpt2,
    "phi2": _phi2,
}


def _factors(header: GgufHeader, name: str) -> list[float]:
    if name not in header.tensors:
        raise UserError(f"{header.path} has no tensor {name}")
    return [float(f) for f in read_rows(header, name).ravel()]


def _with_rope_freqs(config: ModelConfig, header: GgufHeader) -> ModelConfig:
    """Apply ``rope_freqs``, the frequency divisors that the converter computed for Llama 3.1."""
    if "rope_freqs.weight" not in header.tensors or config.rope is None:
        return config
    stored = _factors(header, "rope_freqs.weight")
    if not all(0 < f < np.inf for f in stored):
        raise ValueError("rope_freqs.weight must hold finite numbers greater than 0")
    factors = tuple(stored)
    if config.rope.factors is not None:
        factors = tuple(a * b for a, b in zip(factors, config.rope.factors, strict=True))
    return dataclasses.replace(config, rope=dataclasses.replace(config.rope, factors=factors))
