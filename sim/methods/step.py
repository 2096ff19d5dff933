"""The kinds of steps of a method: transforms of the model, transforms of a block, solver, repair.

A step is a frozen dataclass: its fields are the options that a text such as
``gptq(order=natural,damping=0.1)`` sets.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int32

from numerics import QuantizedTensor, Scheme
from numerics.schemes.repaired import Repaired
from sim.calibration.statistics import Statistics
from sim.methods.block import Block
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics
from sim.sources.source import ModelSource

Weight = Float32[np.ndarray, "out n"]


class Step(ABC):
    """One step of a method."""

    name: ClassVar[str]
    #: Description of the step in one line.
    summary: ClassVar[str]
    source: ClassVar[str]
    #: Time in addition to rounding, in forward passes over the calibration tokens.
    cost: ClassVar[str] = "none beside rounding"
    #: Work and stored bits that the step adds to the quantized model.
    run_time: ClassVar[str] = "nothing more than the quantized matrices"
    #: Description of each option, by name.
    options: ClassVar[dict[str, str]] = {}
    #: Whether the step needs statistics of the layers' inputs, at least with some options.
    is_calibrated: ClassVar[bool]
    #: Whether it reads a sample of the inputs too.
    needs_sample: ClassVar[bool] = False

    @property
    def reads_text(self) -> bool:
        """Whether the step needs statistics with the options that it has."""
        return self.is_calibrated

    @property
    def needs_shift(self) -> bool:
        """Whether the step reads how far the inputs are from those of the float model."""
        return False


#: Function of a name and a function that makes arrays: those kept earlier, or else new ones.
Once = Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]


def _again(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Keep nothing."""
    del name
    return make()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What a model is transformed for, for transforms that are learned."""

    #: Scheme of each matrix that is quantized, by layer name.
    weights: Mapping[str, Scheme]
    #: How each layer rounds its activations; ``None`` if none does.
    numerics: tuple[LayerNumerics, ...] | None
    #: Calibration windows; ``None`` if no step is calibrated.
    tokens: Int32[np.ndarray, "n t"] | None = None
    #: Keeps what a transform learns under a name, so that it is learned once.
    once: Once = _again


class ModelTransform(Step):
    """Changes the weights of the whole model and leaves its float outputs unchanged."""

    @property
    @abstractmethod
    def has_online(self) -> bool:
        """Whether the transformed model has Hadamard transforms at run time."""

    @abstractmethod
    def transformed(self, config: ModelConfig) -> ModelConfig:
        """Return the configuration of the transformed model.

        Raises :class:`ValueError` for a model that the step cannot transform.
        """

    @abstractmethod
    def apply(self, source: ModelSource, task: Task) -> ModelSource:
        """Return the transformed model, whose tensors are transformed as they are read."""


class BlockTransform(Step):
    """Changes the weights of a block and leaves its float outputs unchanged."""

    @abstractmethod
    def check(self, config: ModelConfig, activations: LayerNumerics) -> None:
        """Raise :class:`ValueError` for a model or activations that the step does not support."""

    @abstractmethod
    def apply(self, block: Block) -> None:
        """Change the tensors and statistics of a block."""


class Solver(Step):
    """Chooses the codes of one matrix."""

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for a scheme whose codes the solver cannot choose."""

    @abstractmethod
    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the quantized matrix; ``statistics`` are given if the solver is calibrated."""

    def solve_site(
        self,
        weights: Sequence[Float32[np.ndarray, "_ n"]],
        scheme: Scheme,
        statistics: Statistics | None,
    ) -> list[QuantizedTensor]:
        """Return the quantized matrices that read one input."""
        return [self.solve(weight, scheme, statistics) for weight in weights]


class Repair(Step):
    """Adds something to a quantized matrix that makes up for a part of its error."""

    @property
    @abstractmethod
    def formats(self) -> tuple[int, Scheme, Scheme]:
        """Rank, and the schemes of the factors (rank, out) and (rank, in)."""

    @abstractmethod
    def extra_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits that the repair of a matrix adds; ValueError for a shape without one."""

    @abstractmethod
    def repair(
        self, weight: Weight, quantized: QuantizedTensor, statistics: Statistics | None
    ) -> Repaired:
        """Return the repaired matrix; ``statistics`` are given if the repair is calibrated."""
