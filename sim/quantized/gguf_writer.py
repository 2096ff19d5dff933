"""Write a model as a GGUF file, its matrices as blocks of the schemes that GGUF has.

The vocabulary stays beside the file, in ``tokenizer.json``.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import gguf
import jax.numpy as jnp
import numpy as np
from gguf import GGMLQuantizationType

from numerics import quantize
from numerics.gguf.scheme import GgufScheme
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.sources.gguf_file import open_gguf
from sim.sources.gguf_tensors import interleaved, stored_name
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource
from sim.sources.tokenizer import Tokenizer

FILE_NAME, TOKENIZER, TOKENIZER_CONFIG = "model.gguf", "tokenizer.json", "tokenizer_config.json"
#: ``general.architecture`` of the families that can be written.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
ROPE_FREQS = "rope_freqs.weight"
#: Matrices whose rows the converter reorders in the architecture ``llama``.
REORDERED = (".self_attn.q_proj.", ".self_attn.k_proj.")


def write_gguf(
    source: ModelSource, schemes: dict[str, GgufScheme], directory: Path, names: Iterable[str]
) -> None:
    """Write the tensors ``names`` of a model, and its tokenizer, into an empty directory.

    Matrices without a scheme take the smallest float type that holds their values, vectors
    float32. What is written is read again: a model that GGUF can't describe is refused.
    """
    config = source.config
    if config.family not in ARCHITECTURES:
        raise UserError(
            f"a model of the family {config.family} can't be written as GGUF; those that can are "
            f"{', '.join(ARCHITECTURES)}"
        )
    path = directory / FILE_NAME
    writer = gguf.GGUFWriter(path, ARCHITECTURES[config.family])
    try:
        _add_config(writer, config)
        for name in names:
            stored, kind = _stored(source.read(name), schemes.get(name.removesuffix(".weight")))
            writer.add_tensor(stored_name(name), _ordered(stored, name, config), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    _check_config(path, config)
    _write_tokenizer(source.tokenizer(), directory)


def _add_config(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_block_count(config.layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    if config.sliding_window is not None:
        writer.add_sliding_window(config.sliding_window)
    if config.rope is not None:
        writer.add_rope_dimension_count(config.rope.dim)
        writer.add_rope_freq_base(config.rope.theta)
        if config.rope.factors is not None:
            writer.add_tensor(ROPE_FREQS, np.array(config.rope.factors, np.float32))


def _stored(
    values: np.ndarray, scheme: GgufScheme | None
) -> tuple[np.ndarray, GGMLQuantizationType]:
    """Return rows as the file has them, and their type."""
    if scheme is not None:
        blocks = quantize(jnp.asarray(values), scheme).arrays["blocks"]
        return np.asarray(blocks), GGMLQuantizationType[scheme.ggml_name]
    if values.ndim == 1:
        return values, GGMLQuantizationType.F32
    narrow = smallest_type(values)
    if narrow.dtype == "bfloat16":
        return narrow.view(np.uint8), GGMLQuantizationType.BF16
    return narrow, GGMLQuantizationType["F32" if narrow.dtype == np.float32 else "F16"]


def _ordered(rows: np.ndarray, name: str, config: ModelConfig) -> np.ndarray:
    if ARCHITECTURES[config.family] != "llama" or not any(part in name for part in REORDERED):
        return rows
    heads = config.heads if ".q_proj." in name else config.kv_heads
    return np.ascontiguousarray(interleaved(rows, heads))


def _check_config(path: Path, config: ModelConfig) -> None:
    """Refuse a model whose mathematics the file does not say."""
    found, config = open_gguf(path).config, _as_stored(config)
    for field in dataclasses.fields(config):
        wanted, said = getattr(config, field.name), getattr(found, field.name)
        if wanted != said:
            raise UserError(
                f"GGUF can't describe this model: its {field.name} would be read as {said}, "
                f"not {wanted}"
            )


def _as_stored(config: ModelConfig) -> ModelConfig:
    """Return the configuration with the frequency factors as the float32 numbers of the file."""
    if config.rope is None or config.rope.factors is None:
        return config
    factors = tuple(float(np.float32(factor)) for factor in config.rope.factors)
    return dataclasses.replace(config, rope=dataclasses.replace(config.rope, factors=factors))


def _write_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    tokenizer.backend.save(str(directory / TOKENIZER))
    fields: dict[str, object] = {"add_bos_token": tokenizer.bos_id is not None}
    if tokenizer.bos_id is not None:
        fields["bos_token"] = tokenizer.backend.id_to_token(tokenizer.bos_id)
    (directory / TOKENIZER_CONFIG).write_text(json.dumps(fields) + "\n", encoding="utf-8")
