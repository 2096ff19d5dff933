"""The interface of a model on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.sources.tokenizer import Tokenizer

#: A float32 tensor in memory, matrices as (out, in).
Tensor = Float32[np.ndarray, "..."]


@runtime_checkable
class ModelSource(Protocol):
    """A model whose tensors are read from disk one at a time.

    Opening a source checks everything but the weights' values: shapes, types, and that no
    tensor is missing or unused. ``read`` may be called from any thread.
    """

    @property
    def name(self) -> str:
        """Name in tables and reports."""

    @property
    def config(self) -> ModelConfig:
        """Shape and mathematics of the model."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report, one sentence or more each."""

    @property
    def source_types(self) -> Mapping[str, int]:
        """Number of stored tensors of each storage type, such as ``{"Q4_1": 210, "F32": 61}``."""

    @property
    def content_hash(self) -> str:
        """SHA-256 over everything that decides this model's results: weights and configuration."""

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name``, contiguous, as float32; it is not kept."""

    def has_grid(self, name: str) -> bool:
        """Return whether the stored values of ``name`` are equally spaced in blocks."""

    def grid_step(self, name: str) -> Tensor:
        """Return the distance of neighbouring stored values at each element of ``name``.

        Raises ``UserError`` where it has no grid.
        """

    def tokenizer(self) -> Tokenizer:
        """Return the model's own tokenizer."""


@runtime_checkable
class StoredModel(ModelSource, Protocol):
    """A model whose file says how many bits each tensor takes."""

    def stored_bits(self, name: str) -> float:
        """Return the bits that the canonical tensor ``name`` takes, with its side data."""

    def is_quantized(self, name: str) -> bool:
        """Return whether the canonical tensor ``name`` is stored in codes."""


def is_linear(name: str) -> bool:
    """Return whether a canonical tensor is the weight of a linear layer inside a block."""
    return name.startswith("layers.") and name.endswith("_proj.weight")


def finished(tensor: np.ndarray, *, name: str, path: Path) -> Tensor:
    """Return ``tensor`` as contiguous float32; refuse values that are not finite."""
    with np.errstate(over="ignore"):  # a float64 too large for float32 is refused as infinite below
        result = np.ascontiguousarray(tensor, dtype=np.float32)
    # A sum is finite only if its terms are, and is several times faster than looking at each.
    with np.errstate(over="ignore", invalid="ignore"):
        looks_finite = np.isfinite(np.sum(result, dtype=np.float32))
    if not looks_finite and (bad := result.size - int(np.isfinite(result).sum())):
        raise UserError(
            f"tensor {name} of {path} has {bad} values that are NaN or infinite; "
            "weights must be finite, use an intact copy of the model"
        )
    return result
