"""Whether the tensors of a checkpoint are those of its configuration, neither fewer nor more.

A stored tensor that the forward pass does not read must be a constant on the short list below or
equal to a tensor that it reads. Everything else is refused by name.

Sources: ``tie_weights`` in ``modeling_utils.py`` of transformers 5.24.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import EMBED_TOKENS, hf_recipe, tensor_shapes
from sim.model.hf_tensors import HEAD
from sim.sources.hf_files import StoredTensor, same_values

#: Storage types that convert to float32 exactly, or by rounding (F64). Eight-bit floats come with
#: scales that differ between tools, so they are not among them.
STORAGE_TYPES = ("F32", "F16", "BF16", "F64")

#: Rotary frequencies, stored in every layer by transformers before 4.32 and computed anew since.
ROTARY = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
#: Causal mask and its fill value, stored in every layer of old GPT-2 checkpoints.
MASKS = re.compile(r"(^|\.)h\.\d+\.attn\.(bias|masked_bias)$")

ADAPTER = "adapter_config.json"


def check_tensors(
    config: ModelConfig,
    stored: Mapping[str, StoredTensor],
    path: Path,
    *,
    quantized: Set[str] = frozenset(),
) -> None:
    """Refuse a checkpoint with missing, misshapen, unreadable or unused tensors.

    The types of the tensors ``quantized`` are checked by their reader.
    """
    if config.layers > len(stored):
        raise UserError(f"{path} has {len(stored)} tensors, too few for {config.layers} layers")
    used = {_find(config, name, stored, path) for name in tensor_shapes(config)}
    _check_types({n: stored[n] for n in used - quantized}, path)
    _check_unused(config, stored, used, path)


def _find(config: ModelConfig, name: str, stored: Mapping[str, StoredTensor], path: Path) -> str:
    """Return the stored name of a canonical tensor, its shape checked."""
    recipe = hf_recipe(config, name)
    raw = next((n for n in recipe.names if n in stored), None)
    if raw is None:
        raise UserError(f"{path} has no tensor {recipe.name}, which its configuration needs")
    if stored[raw].shape != recipe.shape:
        raise UserError(
            f"tensor {raw} of {path} has shape {stored[raw].shape}, but the configuration "
            f"asks for {recipe.shape}"
        )
    return raw


def _check_types(tensors: Mapping[str, StoredTensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.type not in STORAGE_TYPES:
            raise UserError(
                f"tensor {name} of {path} is stored as {tensor.type}; weights must be "
                f"{', '.join(STORAGE_TYPES)}, so use the unquantized checkpoint"
            )


def _check_unused(
    config: ModelConfig, stored: Mapping[str, StoredTensor], used: set[str], path: Path
) -> None:
    unused = sorted(n for n in set(stored) - used if not _is_constant(config, n))
    if config.tie_embeddings and HEAD in unused:  # equal: with_stored_head unties others
        unused.remove(HEAD)
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise UserError(
            f"{path} has tensors that a {config.family} model does not use: "
            f"{', '.join(unused[:3])}{more}; the model would not compute what was trained"
        )


def _is_constant(config: ModelConfig, name: str) -> bool:
    """Return whether a stored tensor is a constant that the forward pass computes itself."""
    if config.rope is not None and ROTARY.search(name):
        return True
    return config.family == "gpt2" and MASKS.search(name) is not None


def with_stored_head(
    config: ModelConfig,
    stored: Mapping[str, StoredTensor],
    path: Path,
    *,
    quantized: Set[str] = frozenset(),
) -> tuple[ModelConfig, tuple[str, ...]]:
    """Untie a head that is stored with other values than the embedding; return a note that says so.

    Transformers 5 does the same; transformers 4 dropped the stored head.
    """
    table = _stored_table(config, stored)
    if not config.tie_embeddings or table is None or HEAD not in stored or table == HEAD:
        return config, ()
    pair = {HEAD, table}
    _check_types({name: stored[name] for name in pair - quantized}, path)
    if not pair & quantized and same_values(stored, HEAD, table):
        return config, ()
    note = (
        f"tie_word_embeddings is true in config.json, but {HEAD} differs from {table}: the stored "
        "head is used, as in transformers 5 (transformers 4 used the embedding)."
    )
    return replace(config, tie_embeddings=False), (note,)


def _stored_table(config: ModelConfig, stored: Mapping[str, StoredTensor]) -> str | None:
    """Return the stored name of the token embedding."""
    names = hf_recipe(config, f"{EMBED_TOKENS}.weight").names
    return next((name for name in names if name in stored), None)


def check_no_adapter(path: Path) -> None:
    """Refuse a directory with an adapter, which would change the weights."""
    if (path / ADAPTER).is_file():
        raise UserError(
            f"{path} holds an adapter ({ADAPTER}), which is not applied; merge it into the model "
            f"first (merge_and_unload of the peft library), or remove {ADAPTER}"
        )
