"""SpinQuant: rotations that are learned for the formats of a recipe, instead of random ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from numerics.solvers.rotation import Dense, Product
from sim.methods.rotation_learning import RotationProblem, learn
from sim.methods.rotations import Rotate
from sim.methods.step import ModelTransform, Task
from sim.model.config import ModelConfig
from sim.sources.rotated import RotatedSource
from sim.sources.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinQuant(ModelTransform):
    """Learn R1 and R2 from random Hadamard rotations on, by descent on orthogonal matrices."""

    name: ClassVar[str] = "spinquant"
    summary: ClassVar[str] = "rotate activations by matrices learned for the recipe's formats"
    source: ClassVar[str] = (
        "SpinQuant, arXiv:2405.16406; the loss is the divergence from the float model, where the "
        "paper takes the cross-entropy"
    )
    cost: ClassVar[str] = "about 5 forward passes of each step's windows, and out * in^2 a matrix"
    run_time: ClassVar[str] = (
        "a tied head is stored apart from the embedding; Hadamard transforms in each layer: r3 of "
        "q and k, r4 of the inputs of down"
    )
    options: ClassVar[dict[str, str]] = {
        "steps": "gradient steps",
        "windows": "calibration windows in a step",
        "rate": "largest step size at the start; it falls to 0",
        "weights": "round weights while learning; false suits solvers such as gptq",
        "r3": "transform queries and keys after RoPE at run time, for KV cache formats",
        "r4": "transform the inputs of down at run time, for activation formats",
        "seed": "seed of the random signs of the first rotations",
    }
    is_calibrated: ClassVar[bool] = True

    steps: int = 40
    windows: int = 2
    rate: float = 10.0
    weights: bool = True
    r3: bool = False
    r4: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"option {name} of spinquant is {getattr(self, name)}; at least 1")
        if not 0 < self.rate < np.inf:
            raise ValueError(
                f"option rate of spinquant is {self.rate:g}; it must be a number above 0"
            )

    @property
    def has_online(self) -> bool:
        """Whether there are Hadamard transforms at run time."""
        return self._start.has_online

    def transformed(self, config: ModelConfig) -> ModelConfig:
        """Return the configuration of the rotated model; ValueError if it can't be rotated."""
        return self._start.transformed(config)

    def apply(self, source: ModelSource, task: Task) -> ModelSource:
        """Return the model with learned rotations."""
        if task.tokens is None:
            raise ValueError("spinquant needs calibration windows")
        schemes = task.weights if self.weights else {}
        if not schemes and task.numerics is None:
            raise ValueError(
                "spinquant(weights=false) learns from rounded activations, and none are; "
                "give --activations or --kv, or take weights=true"
            )
        start = self._start.rotated(source)
        tokens = task.tokens

        def make() -> dict[str, np.ndarray]:
            problem = RotationProblem.of(start, tokens, schemes, task.numerics)
            found, _ = learn(problem, steps=self.steps, windows=self.windows, rate=self.rate)
            return {"residual": found.residual, "values": found.values}

        learned = task.once(self.name, make)
        assert start.residual is not None
        return RotatedSource(
            source=source,
            residual=Product(first=start.residual, second=Dense(matrix=learned["residual"])),
            values=tuple(
                Product(first=first, second=Dense(matrix=second))
                for first, second in zip(start.values, learned["values"], strict=True)
            ),
            online=start.online,
        )

    @property
    def _start(self) -> Rotate:
        return Rotate(r3=self.r3, r4=self.r4, seed=self.seed)
