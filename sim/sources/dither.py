"""A control for models whose weights lie on a quantization grid: the same model off its grid.

Weights that were dequantized from blocks of equally spaced values flatter every format that holds
such a grid. Noise that is uniform over one step removes the grid and adds an error about as large
as the quantization error of the source; it does not restore the original weights.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import linear_names
from sim.sources.files import hash_of
from sim.sources.source import ModelSource, Tensor, is_linear
from sim.sources.tokenizer import Tokenizer


@dataclass(frozen=True)
class DitheredSource:
    """A source with noise, uniform over one step of its grid, on every linear matrix.

    The noise of a tensor follows from the seed and the tensor's name alone, so it is the same
    whatever is read before. Refused where a linear matrix is not on a grid.
    """

    source: ModelSource
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"the seed of the dither must be 0 or more, not {self.seed}")
        for name in linear_names(self.source.config):
            if not self.source.has_grid(f"{name}.weight"):
                self.source.grid_step(f"{name}.weight")  # raises the error

    @property
    def name(self) -> str:
        """Name in tables and reports."""
        return f"{self.source.name}, dithered"

    @property
    def config(self) -> ModelConfig:
        """Shape and mathematics of the model."""
        return self.source.config

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the source, and that it is dithered."""
        note = (
            f"Dithered with seed {self.seed}: noise, uniform over one step of the source's grid, "
            "is added to every linear matrix, in the float reference too."
        )
        return (*self.source.notes, note)

    @property
    def source_types(self) -> Mapping[str, int]:
        """Number of stored tensors of each storage type."""
        return self.source.source_types

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the source and the seed."""
        return hash_of("dithered uniformly by one step", str(self.seed), self.source.content_hash)

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name``, with noise if it is a linear matrix."""
        weights = self.source.read(name)
        if is_linear(name):
            weights += self._noise(name, weights.shape) * self.source.grid_step(name)
        return weights

    def _noise(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform noise from minus to plus a half, always the same for a name."""
        words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
        seeds = np.random.SeedSequence([self.seed, *words.tolist()])
        generator = np.random.Generator(np.random.Philox(seeds))
        return generator.random(shape, np.float32) - np.float32(0.5)

    def has_grid(self, name: str) -> bool:
        """Return whether the source's values are on a grid."""
        return self.source.has_grid(name)

    def grid_step(self, name: str) -> Tensor:
        """Return the step of the source's grid."""
        return self.source.grid_step(name)

    def tokenizer(self) -> Tokenizer:
        """Return the model's own tokenizer."""
        return self.source.tokenizer()
