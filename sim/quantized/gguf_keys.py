"""The metadata of a GGUF file that describes the mathematics of a model.

Keys are those that llama.cpp's ``load_hparams`` and ``load_arch_hparams`` (``llama-model.cpp``)
read and its converter writes.
"""

from collections.abc import Mapping

import gguf

from sim.errors import UserError
from sim.model.config import ModelConfig, RopeConfig
from sim.model.yarn import Yarn, attention_scale

#: Types of metadata values; integers are stored as uint32, floats as float32.
Value = str | bool | int | float | list[str] | list[int] | list[float]
Metadata = dict[str, Value]

#: ``general.architecture`` by model family; llama.cpp does not support OPT.
ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3",
    "phi3": "phi3", "gemma2": "gemma2", "gpt2": "gpt2", "phi": "phi2",
}  # fmt: skip

#: Families with a key for the attention window (0 for none in Phi-3). llama.cpp's ``llama``
#: ignores the key and attends to all tokens.
WINDOWED = ("mistral", "phi3", "gemma2")


def architecture_of(config: ModelConfig) -> str:
    """Return ``general.architecture``; raise UserError for a family without one in GGUF."""
    if config.family not in ARCHITECTURES:
        raise UserError(
            f"a model of the family {config.family} can't be written as GGUF; those that can are "
            f"{', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[config.family]


def architecture_keys(config: ModelConfig) -> Metadata:
    """Return the keys of the architecture."""
    eps = "layer_norm_rms_epsilon" if config.norm == "rms" else "layer_norm_epsilon"
    keys: Metadata = {
        "vocab_size": config.vocab_size,
        "block_count": config.layers,
        "context_length": config.max_positions,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        f"attention.{eps}": config.norm_eps,
    }
    if config.family == "phi3" or (config.family in WINDOWED and config.sliding_window is not None):
        keys["attention.sliding_window"] = config.sliding_window or 0
    if config.attention_softcap is not None:
        keys["attn_logit_softcapping"] = config.attention_softcap
    if config.final_softcap is not None:
        keys["final_logit_softcapping"] = config.final_softcap
    keys |= _rope_keys(config.rope)
    prefix = architecture_of(config)
    return {f"{prefix}.{key}": value for key, value in keys.items()}


def _rope_keys(rope: RopeConfig | None) -> Metadata:
    if rope is None:
        return {}
    keys: Metadata = {"rope.dimension_count": rope.dim, "rope.freq_base": rope.theta}
    if rope.original_max_positions is not None:
        keys["rope.scaling.original_context_length"] = rope.original_max_positions
    if rope.yarn is not None:
        return keys | _yarn_keys(rope, rope.yarn)
    if rope.attention_factor != 1.0:
        keys["rope.scaling.attn_factor"] = rope.attention_factor
    if (factor := linear_factor(rope)) is not None:
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
    return keys


def _yarn_keys(rope: RopeConfig, yarn: Yarn) -> Metadata:
    """Return the keys of YaRN: llama.cpp multiplies the paper's factor on cosines by its own."""
    keys: Metadata = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": yarn.factor,
        "rope.scaling.original_context_length": yarn.original_positions,
        "rope.scaling.yarn_beta_fast": yarn.beta_fast,
        "rope.scaling.yarn_beta_slow": yarn.beta_slow,
    }
    usual = attention_scale(yarn.factor)
    if rope.attention_factor != usual:
        keys["rope.scaling.attn_factor"] = rope.attention_factor / usual
        keys["rope.scaling.yarn_attn_factor"] = rope.attention_factor
    return keys


def linear_factor(rope: RopeConfig | None) -> float | None:
    """Return the common divisor of all rotary frequencies; ``None`` if there is none."""
    if rope is None or rope.factors is None or rope.long_factors is not None:
        return None
    return rope.factors[0] if len(set(rope.factors)) == 1 else None


def add_metadata(writer: gguf.GGUFWriter, metadata: Metadata) -> None:
    """Add keys to a file, in the types that llama.cpp expects."""
    for key, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case str():
                writer.add_string(key, value)
            case _:
                writer.add_array(key, value)
