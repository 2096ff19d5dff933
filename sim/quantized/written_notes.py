"""Notes on a written model: where it differs from the model that it was made from."""

from pathlib import Path

import numpy as np
from safetensors import safe_open

from numerics.names.text import short_name
from sim.model.tensors import EMBED_TOKENS, LM_HEAD
from sim.model.yarn import BETAS
from sim.quantized.gguf_keys import architecture_of
from sim.quantized.table_types import TableTypes
from sim.quantized.writer import GGUF_NAME
from sim.sources.gguf_file import WINDOWLESS
from sim.sources.packed_description import WEIGHTS
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe

#: Names of 16-bit float types in safetensors.
NARROW = {"F16": "FP16", "BF16": "BF16"}


def written_notes(source: ModelSource, path: Path, tables: TableTypes) -> list[str]:
    """Return one line for each difference that a user did not ask for."""
    if path.is_file() or (path / GGUF_NAME).exists():
        return _window_notes(source) + _yarn_notes(source)
    return _rounding_notes(source, path / WEIGHTS, tables)


def unwritten_notes(recipe: Recipe) -> list[str]:
    """Return a note on formats of activations and KV cache, which no file of weights states."""
    rules = recipe.rules
    parts = {
        "--activations": next((r.activations for r in rules if r.activations), None),
        "--kv": next((r.kv for r in rules if r.kv), None),
    }
    given = {option: short_name(scheme) for option, scheme in parts.items() if scheme is not None}
    if not given:
        return []
    options = " ".join(f"{option} {name}" for option, name in given.items())
    return [f"only the weights of {recipe.name} are stored; sweep the model with {options}"]


def _window_notes(source: ModelSource) -> list[str]:
    """Return a note if llama.cpp ignores the sliding window of a GGUF file."""
    window, architecture = source.config.sliding_window, architecture_of(source.config)
    if window is None or architecture not in WINDOWLESS:
        return []
    note = (
        f"the file states the model's sliding window of {window} tokens, which qsim applies; "
        f"llama.cpp ignores it in the architecture {architecture} and attends to all tokens"
    )
    return [note]


def _yarn_notes(source: ModelSource) -> list[str]:
    """Return a note if llama.cpp ignores the ends of the ramp of YaRN in a GGUF file."""
    yarn = source.config.rope.yarn if source.config.rope is not None else None
    if yarn is None or (yarn.beta_fast, yarn.beta_slow) == BETAS:
        return []
    note = (
        f"the file states beta_fast {yarn.beta_fast:g} and beta_slow {yarn.beta_slow:g} of YaRN, "
        "which qsim applies; llama.cpp ignores them in this architecture and takes 32 and 1"
    )
    return [note]


def _rounding_notes(source: ModelSource, weights: Path, tables: TableTypes) -> list[str]:
    """Return a note for each of embedding and head that was rounded to 16 bits by default."""
    notes = []
    with safe_open(weights, framework="numpy") as stored:
        for layer, chosen, option in (
            (EMBED_TOKENS, tables.embeddings, "--embeddings"),
            (LM_HEAD, tables.head, "--head"),
        ):
            name = f"{layer}.weight"
            if chosen is not None or name not in stored.keys():  # noqa: SIM118
                continue
            kind = NARROW.get(stored.get_slice(name).get_dtype())
            if kind and smallest_type(source.read(name)).dtype == np.float32:
                notes.append(f"{layer} is rounded to {kind}; {option} keep stores every value")
    return notes
