"""The steps that a method is made of, each with its options, defaults and source.

A step is a frozen dataclass: its fields are the options that a text such as
``gptq(order=natural,damping=0.1)`` sets.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from numerics import QuantizedTensor, Scheme, quantize
from numerics.solvers.clip import clip_search
from numerics.solvers.gptq import gptq
from numerics.solvers.hessian import Order
from sim.calibration.statistics import Statistics

Weight = Float32[np.ndarray, "out n"]


class Solver(ABC):
    """Chooses the codes of one matrix."""

    name: ClassVar[str]
    #: What it does, in one line.
    summary: ClassVar[str]
    source: ClassVar[str]
    #: Whether it needs statistics of the layer's inputs.
    is_calibrated: ClassVar[bool]

    @abstractmethod
    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the quantized matrix; ``statistics`` are given where the step is calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtn(Solver):
    """Round each value to the nearest code under the scheme's own scale rule."""

    name: ClassVar[str] = "rtn"
    summary: ClassVar[str] = "round to nearest under the scale rule of the format"
    source: ClassVar[str] = "the format's own source"
    is_calibrated: ClassVar[bool] = False

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the scheme's own codes."""
        del statistics
        return quantize(jnp.asarray(weight), scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip(Solver):
    """Search the clip of each group, then round to nearest."""

    name: ClassVar[str] = "clip"
    summary: ClassVar[str] = "clip each group for the least squared error, then round to nearest"
    source: ClassVar[str] = "GPTQ's public code (mse option); the Hessian's weight is qsim's own"
    is_calibrated: ClassVar[bool] = True

    #: Weight of a column's squared error: the diagonal of the Hessian, or 1.
    weight: Literal["hessian", "none"] = "hessian"

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return codes under scales of the best clip."""
        assert statistics is not None
        importance = np.diag(statistics.hessian) if self.weight == "hessian" else None
        return clip_search(weight, scheme, importance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gptq(Solver):
    """Round columns in turn, each with the errors of those before fed back."""

    name: ClassVar[str] = "gptq"
    summary: ClassVar[str] = "round columns in turn and feed each one's error to those that follow"
    source: ClassVar[str] = "Frantar et al., arXiv:2210.17323; LDLQ form of arXiv:2307.13304"
    is_calibrated: ClassVar[bool] = True

    #: Order of the columns; groups stay consecutive in each.
    order: Order = "activation"
    #: Added to the Hessian's diagonal, relative to its mean.
    damping: float = 0.01
    #: Fit scales by a clip search weighted with the Hessian's diagonal.
    clip: bool = True

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the codes that GPTQ chooses."""
        assert statistics is not None
        return gptq(
            weight,
            statistics.hessian,
            scheme,
            order=self.order,
            damping=self.damping,
            clip=self.clip,
        ).weight


SOLVERS: dict[str, type[Solver]] = {step.name: step for step in (Rtn, Clip, Gptq)}
