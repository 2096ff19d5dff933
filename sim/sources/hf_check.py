"""Whether the tensors of a checkpoint are those of its configuration, neither fewer nor more.

A stored tensor that the forward pass does not read must be a constant on the short list below or
equal to a tensor that it reads. Everything else is refused by name.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import EMBED_TOKENS, LM_HEAD, hf_recipe, tensor_shapes
from sim.sources.hf_files import StoredTensor, same_values

#: Storage types that convert to float32 exactly, or by rounding (F64). Eight-bit floats come with
#: scales that differ between tools, so they are not among them.
STORAGE_TYPES = ("F32", "F16", "BF16", "F64")

#: Rotary frequencies, stored in every layer by transformers before 4.32 and computed anew since.
ROTARY = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
#: Causal mask and its fill value, stored in every layer of old GPT-2 checkpoints.
MASKS = re.compile(r"(^|\.)h\.\d+\.attn\.(bias|masked_bias)$")

HEAD = f"{LM_HEAD}.weight"
ADAPTER = "adapter_config.json"


def check_tensors(config: ModelConfig, stored: Mapping[str, StoredTensor], path: Path) -> None:
    """Refuse a checkpoint with missing, misshapen, unreadable or unused tensors."""
    if config.layers > len(stored):
        raise UserError(f"{path} has {len(stored)} tensors, too few for {config.layers} layers")
    used = {_find(config, name, stored, path) for name in tensor_shapes(config)}
    _check_types({n: stored[n] for n in used}, path)
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
    if config.tie_embeddings and HEAD in unused:
        _check_second_head(config, stored, path)
        unused.remove(HEAD)
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise UserError(
            f"{path} has tensors that a {config.family} model does not use: "
            f"{', '.join(unused[:3])}{more}; the model would not compute what was trained"
        )


def _is_constant(config: ModelConfig, name: str) -> bool:
    """Tell whether a stored tensor is a constant that the forward pass computes itself."""
    if config.rope is not None and ROTARY.search(name):
        return True
    return config.family == "gpt2" and MASKS.search(name) is not None


def _check_second_head(config: ModelConfig, stored: Mapping[str, StoredTensor], path: Path) -> None:
    """Refuse a tied head that is stored a second time with other values."""
    _check_types({HEAD: stored[HEAD]}, path)
    names = hf_recipe(config, f"{EMBED_TOKENS}.weight").names
    table = next(n for n in names if n in stored)
    if not same_values(stored, HEAD, table):
        raise UserError(
            f"{path} has {HEAD} with other values than {table}, though tie_word_embeddings is "
            f"true in config.json; set it to false to use the stored head, or remove {HEAD}"
        )


def check_no_adapter(path: Path) -> None:
    """Refuse a directory with an adapter, which would change the weights."""
    if (path / ADAPTER).is_file():
        raise UserError(
            f"{path} holds an adapter ({ADAPTER}), which is not applied; merge it into the model "
            f"first (merge_and_unload of the peft library), or remove {ADAPTER}"
        )
