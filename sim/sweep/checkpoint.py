"""Ready checkpoints as points of a sweep: what a quantized model lost against its original."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from numerics import ElementScheme, Scheme
from sim.errors import UserError
from sim.methods.measure import powers, sqnr_db
from sim.methods.run import QuantizedBlock
from sim.model.config import ModelConfig
from sim.model.tensors import fused_members, linear_names, tensor_shapes
from sim.sources.catalog import open_model, stored_model
from sim.sources.hf_directory import HfDirectory
from sim.sources.source import ModelSource, StoredModel, is_linear
from sim.sources.text import Text
from sim.sweep.recipe import CheckpointWeights, Recipe, Rule
from sim.sweep.windows import Windows, take_windows

#: Fields of a configuration in which a checkpoint may differ from its original: names, and what a
#: tool that stores the head apart changes.
FREE_FIELDS = ("family", "tie_embeddings", "max_positions")
#: Relative difference of numbers that are stored in float32 in one of two files.
ROUNDING = 1e-6


def open_checkpoint_point(spec: str) -> StoredModel:
    """Open a model whose file says what it stores."""
    source = stored_model(open_model(spec))
    if source is None:
        raise UserError(f"--checkpoint {spec} is not a checkpoint in a file or a directory")
    return source


def checkpoint_recipe(source: StoredModel, name: str) -> Recipe:
    """Return the recipe of a checkpoint: its weights, and the activations that it asks for."""
    return Recipe(
        name=name,
        rules=asked_rules(source),
        checkpoint=CheckpointWeights(sha256=source.content_hash, about=about_weights(source)),
    )


def asked_rules(source: ModelSource) -> tuple[Rule, ...]:
    """Return rules for the activations and the KV cache that a checkpoint asks for."""
    if not isinstance(source, HfDirectory):
        return ()
    inputs = _of_sites(source.config, source.activations)
    caches = {f"layers.{i}.self_attn.kv_cache": scheme for i, scheme in source.kv.items()}
    layers = source.config.layers
    return (
        *(Rule(match=name, activations=s) for name, s in _merged(inputs, layers).items()),
        *(Rule(match=name, kv=scheme) for name, scheme in _merged(caches, layers).items()),
    )


def _of_sites(config: ModelConfig, schemes: Mapping[str, Scheme]) -> dict[str, Scheme]:
    """Return one scheme for the layers that read one input: the largest of their static scales."""
    found: dict[str, Scheme] = {}
    for index in range(config.layers):
        for members in fused_members(config).values():
            names = [f"layers.{index}.{member}" for member in members]
            given = {name: schemes[name] for name in names if name in schemes}
            largest = max(given.values(), key=_static_scale, default=None)
            alike = {_without_scale(scheme) for scheme in given.values()}
            if largest is not None and len(alike) == 1:
                found |= dict.fromkeys(given, largest)
            else:
                found |= given
    return found


def _static_scale(scheme: Scheme) -> float:
    return (scheme.static_scale or 0.0) if isinstance(scheme, ElementScheme) else 0.0


def _without_scale(scheme: Scheme) -> Scheme:
    is_static = isinstance(scheme, ElementScheme) and scheme.static_scale is not None
    return dataclasses.replace(scheme, static_scale=None) if is_static else scheme  # type: ignore[type-var]


def _merged(schemes: Mapping[str, Scheme], layers: int) -> dict[str, Scheme]:
    """Return schemes by pattern: one pattern for a module that is alike in all layers."""
    by_module: dict[str, dict[str, Scheme]] = {}
    for name, scheme in schemes.items():
        by_module.setdefault(name.split(".", 2)[2], {})[name] = scheme
    found: dict[str, Scheme] = {}
    for module, named in by_module.items():
        distinct = set(named.values())
        if len(distinct) == 1 and len(named) == layers:
            found[f"layers.*.{module}"] = distinct.pop()
        else:
            found |= named
    return found


def about_weights(source: StoredModel) -> str:
    """Return how the linear layers are stored, such as ``28 int4_full:g128:bf16, 2 BF16``."""
    names = [f"{name}.weight" for name in linear_names(source.config)]
    if isinstance(source, HfDirectory):
        kinds = Counter(source.storage_type(name) for name in names)
        return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return ", ".join(f"{count} {kind}" for kind, count in source.source_types.items())


def point_notes(source: StoredModel) -> tuple[str, ...]:
    """Return notes on a checkpoint beside its original; those of a reference do not hold for it."""
    if not isinstance(source, HfDirectory) or source.quantized is None:
        return ()
    layout = source.quantized.layout
    return (f"{len(source.quantized.layers)} matrices stored as {layout.title}.", *layout.notes)


def checkpoint_names(specs: Sequence[str]) -> list[str]:
    """Return a short name for each checkpoint, which no other one has."""
    short = [spec.rstrip("/").rpartition("/")[2] or spec for spec in specs]
    return [
        name if short.count(name) == 1 else spec for name, spec in zip(short, specs, strict=True)
    ]


def check_same_model(
    checkpoint: ModelSource, original: ModelSource, text: Text, windows: Windows, spread: bool
) -> None:
    """Refuse a checkpoint of another model, and one that reads the text as other tokens."""
    one, other = _comparable(checkpoint.config), _comparable(original.config)
    for name, value in one.items():
        if not _equal(value, other[name]):
            raise UserError(
                f"{checkpoint.name} is not a checkpoint of {original.name}: {name} is {value}, not "
                f"{other[name]}; give its original with --model"
            )
    size, context = windows.tokens.size, windows.tokens.shape[1]
    tokens = take_windows(
        text, checkpoint.tokenizer(), tokens=size, context=context, spread=spread
    ).tokens
    if not np.array_equal(tokens, windows.tokens):
        raise UserError(
            f"the tokenizer of {checkpoint.name} gives other tokens of {text.name} than that of "
            f"{original.name}; a checkpoint is compared with its original on the same tokens"
        )


def _comparable(config: ModelConfig) -> dict[str, Any]:
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in FREE_FIELDS}


def _equal(one: Any, other: Any) -> bool:
    """Return whether values are equal, numbers up to the rounding of float32."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING)
    return bool(one == other)


def has_same_vectors(checkpoint: ModelSource, original: ModelSource) -> bool:
    """Return whether the norms of the layers are those of the original, up to rounding to 16 bits.

    Tools that fold scales into norms, such as AWQ, change the weights themselves, so that a signal
    to noise ratio of weights says nothing.
    """
    names = [n for n, s in tensor_shapes(checkpoint.config).items() if len(s) == 1 and "norm" in n]
    return all(
        np.allclose(checkpoint.read(name), original.read(name), rtol=2**-7, atol=1e-6)
        for name in names
    )


def block_levels(block: QuantizedBlock, original: ModelSource) -> dict[str, float]:
    """Return the SQNR in dB of the linear layers of a block against the original's."""
    found: dict[str, float] = {}
    for name, tensor in block.tensors.items():
        full = f"layers.{block.index}.{name}"
        if not is_linear(full):
            continue
        signal, noise = powers(jnp.asarray(original.read(full)), jnp.asarray(tensor))
        level = sqnr_db(float(signal), float(noise))
        if level is not None:
            found[full.removesuffix(".weight")] = level
    return found
