"""Rotations of a model's activations by Hadamard matrices, so that outliers spread over channels.

``r1`` and ``r2`` are folded into the weights and cost nothing at run time. ``r3``, ``r4`` and
``heads`` need Hadamard transforms in the forward pass (see :mod:`sim.model.online`).
"""

from dataclasses import dataclass
from typing import ClassVar

from numerics.solvers.hadamard import check_blocks, has_hadamard
from numerics.solvers.rotation import Rotation, random_hadamard
from sim.methods.step import ModelTransform, Task
from sim.model.config import ModelConfig
from sim.model.online import Online
from sim.sources.rotated import RotatedSource, rotated_config
from sim.sources.source import ModelSource

#: Numbers that part the random signs of R1 and of R2 under one seed.
RESIDUAL, VALUES = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate(ModelTransform):
    """Rotate by random Hadamard matrices."""

    name: ClassVar[str] = "rotate"
    summary: ClassVar[str] = "rotate activations by Hadamard matrices, so that outliers spread"
    source: ClassVar[str] = "QuaRot, arXiv:2404.00456; names of rotations of arXiv:2405.16406"
    cost: ClassVar[str] = "fast Hadamard transforms of the matrices; no forward pass"
    run_time: ClassVar[str] = (
        "r1, r2: no work, but r1 stores a tied head apart from the embedding; Hadamard transforms "
        "in each layer: r3 of q and k, r4 of the inputs of down, heads of the inputs of o"
    )
    options: ClassVar[dict[str, str]] = {
        "r1": "rotate the residual stream; folded into the weights",
        "r2": "rotate the values of each head; folded into v and o",
        "r3": "transform queries and keys after RoPE at run time, for KV cache formats",
        "r4": "transform the inputs of down at run time, for activation formats",
        "heads": "mix heads before o at run time, or all values if no matrix has that many rows",
        "block": "values in a block of r1 and r4; 0 takes all of them",
        "seed": "seed of the random signs",
    }
    is_calibrated: ClassVar[bool] = False

    r1: bool = True
    r2: bool = True
    r3: bool = False
    r4: bool = False
    heads: bool = False
    block: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not any((self.r1, self.r2, self.r3, self.r4, self.heads)):
            raise ValueError("rotate has no rotation; set r1, r2, r3, r4 or heads to true")
        if self.block and not (self.r1 or self.r4):
            raise ValueError(
                f"option block of rotate is {self.block}, but only r1 and r4 have blocks; set one "
                "of them to true or leave block out"
            )
        if self.seed and not (self.r1 or self.r2):
            raise ValueError(
                f"option seed of rotate is {self.seed}, but only r1 and r2 have random signs; set "
                "one of them to true or leave seed out"
            )
        for name in ("block", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"option {name} of rotate is {getattr(self, name)}; at least 0")

    @property
    def has_online(self) -> bool:
        """Whether there are Hadamard transforms at run time."""
        return self.r3 or self.r4 or self.heads

    def transformed(self, config: ModelConfig) -> ModelConfig:
        """Return the configuration of the rotated model; ValueError if it can't be rotated."""
        rotated = rotated_config(config, residual=self.r1, online=self._online(config))
        if self.r1:
            check_blocks(config.hidden_size, self.block or config.hidden_size)
        if self.r2:
            check_blocks(config.head_dim, config.head_dim)
        return rotated

    def apply(self, source: ModelSource, task: Task) -> ModelSource:
        """Return the rotated model."""
        del task
        return self.rotated(source)

    def rotated(self, source: ModelSource) -> RotatedSource:
        """Return the rotated model."""
        config = source.config
        residual = random_residual(config, self.block, self.seed) if self.r1 else None
        values = random_values(config, self.seed) if self.r2 else ()
        return RotatedSource(
            source=source, residual=residual, values=values, online=self._online(config)
        )

    def _online(self, config: ModelConfig) -> Online | None:
        if not self.has_online:
            return None
        mixes_heads = has_hadamard(config.heads)
        return Online(
            down=(self.block or config.intermediate_size) if self.r4 else None,
            o=config.heads if self.heads and mixes_heads else None,
            o_values=config.heads * config.head_dim if self.heads and not mixes_heads else None,
            qk=config.head_dim if self.r3 else None,
        )


def random_residual(config: ModelConfig, block: int, seed: int) -> Rotation:
    """Return R1: random signs and Hadamard matrices of blocks; block 0 is the whole stream."""
    width = config.hidden_size
    return random_hadamard(width, block or width, (seed, RESIDUAL))


def random_values(config: ModelConfig, seed: int) -> tuple[Rotation, ...]:
    """Return R2 of each layer: random signs and a Hadamard matrix for each value head."""
    width, size = config.kv_heads * config.head_dim, config.head_dim
    return tuple(random_hadamard(width, size, (seed, VALUES, i)) for i in range(config.layers))
