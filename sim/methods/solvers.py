"""Solvers: steps that choose the codes of a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from numerics import QuantizedTensor, Scheme, quantize
from numerics.solvers.clip import check_clip, clip_search
from numerics.solvers.fresh import check_fresh
from numerics.solvers.gptq import Groups, gptq_layers
from numerics.solvers.hessian import Order, check_damping, column_order
from numerics.solvers.rounder import rounder_of
from numerics.solvers.rows import join_rows, row_parts
from numerics.solvers.target import asymmetric_target
from sim.calibration.statistics import Statistics
from sim.methods.step import Solver, Weight

#: Usual part of the correction towards the float model's outputs.
STRENGTH = 0.25
#: Visits after which codes no longer change, with room.
MOST_SWEEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtn(Solver):
    """Round each value to the nearest code under the scheme's scale rule."""

    name: ClassVar[str] = "rtn"
    summary: ClassVar[str] = "round to nearest under the scale rule of the format"
    source: ClassVar[str] = "the format's own source"
    is_calibrated: ClassVar[bool] = False

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the nearest codes."""
        del statistics
        parts = row_parts(weight, scheme)
        return join_rows([quantize(jnp.asarray(rows), scheme) for rows in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip(Solver):
    """Search the clipping threshold of each group, then round to nearest."""

    name: ClassVar[str] = "clip"
    summary: ClassVar[str] = "clip each group for the least squared error, then round to nearest"
    source: ClassVar[str] = "GPTQ's public code (mse option); the Hessian's weight is qsim's own"
    cost: ClassVar[str] = "two forward passes over the calibration tokens"
    options: ClassVar[dict[str, str]] = {
        "weight": "weight of a column's squared error: the diagonal of the Hessian, or 1"
    }
    is_calibrated: ClassVar[bool] = True

    weight: Literal["hessian", "none"] = "hessian"

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise ValueError for schemes without a scale that clipping changes."""
        check_clip(scheme, shape)

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the nearest codes under the scales of the best clip."""
        assert statistics is not None
        importance = np.diag(statistics.hessian) if self.weight == "hessian" else None
        return clip_search(weight, scheme, importance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gptq(Solver):
    """Round columns in turn, and add the error of each to the columns not yet rounded."""

    name: ClassVar[str] = "gptq"
    summary: ClassVar[str] = "round columns in turn and feed each one's error to those that follow"
    source: ClassVar[str] = (
        "Frantar et al., arXiv:2210.17323; LDLQ form of arXiv:2307.13304; sweeps as in QuantEase, "
        "arXiv:2309.01885, with the least-squares scales of groups in turn as qsim's own"
    )
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and out * in^2 multiply-adds a matrix and "
        "sweep, and once more for the column loop"
    )
    options: ClassVar[dict[str, str]] = {
        "order": "order in which columns are rounded; groups stay consecutive in each",
        "damping": "added to the Hessian's diagonal, relative to its mean",
        "clip": "fit scales and selectors by a search weighted with the Hessian's diagonal",
        "target": "outputs to approach on quantized inputs: the layer's own, or the float model's",
        "strength": "part of the correction towards the float model's outputs, with target=model",
        "groups": "when a group's scale is fitted: before all columns, or when it is reached",
        "refit": "fit scales again to the codes chosen, as far as the format lets them vary",
        "sweeps": "visits of all codes with the others as they are, after the column loop; formats "
        "of vectors have none",
    }
    is_calibrated: ClassVar[bool] = True

    order: Order = "activation"
    damping: float = 0.01
    clip: bool = True
    target: Literal["layer", "model"] = "layer"
    strength: float = STRENGTH
    groups: Groups = "static"
    refit: bool = True
    sweeps: int = 4

    def __post_init__(self) -> None:
        check_damping(self.damping)
        if not 0 <= self.sweeps <= MOST_SWEEPS:
            raise ValueError(f"sweeps of gptq is {self.sweeps}; it can be 0 to {MOST_SWEEPS}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength is {self.strength:g}; it must lie above 0 and up to 1")
        if self.target == "layer" and self.strength != STRENGTH:
            raise ValueError(
                f"strength={self.strength:g} of gptq is for target=model; write "
                f"gptq(target=model,strength={self.strength:g})"
            )

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise ValueError for schemes without a rounder, and options that need other groups."""
        unit = rounder_of(scheme, shape).unit
        width = -(-shape[1] // unit) * unit
        column_order(np.zeros(width), self.order, scheme.group_size, unit)
        if self.groups == "fresh":
            check_fresh(scheme, shape, self.order)

    @property
    def needs_shift(self) -> bool:
        """Whether the float model's inputs are needed."""
        return self.target == "model"

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the codes that GPTQ chooses."""
        return self.solve_site([weight], scheme, statistics)[0]

    def solve_site(
        self,
        weights: Sequence[Float32[np.ndarray, "_ n"]],
        scheme: Scheme,
        statistics: Statistics | None,
    ) -> list[QuantizedTensor]:
        """Return the codes that GPTQ chooses for matrices that read one input."""
        assert statistics is not None
        hessian, shift = statistics.hessian, statistics.shift
        if not hessian.any():
            # Inputs are zero throughout the calibration text, so that all codes are equally good.
            return Rtn().solve_site(weights, scheme, None)
        targets = list(weights)
        if self.target == "model":
            assert shift is not None
            targets = [
                asymmetric_target(
                    w, hessian, shift, damping=self.damping, strength=self.strength
                ).astype(np.float32)
                for w in weights
            ]
        found = gptq_layers(
            targets,
            hessian,
            scheme,
            order=self.order,
            damping=self.damping,
            clip=self.clip,
            groups=self.groups,
            refit=self.refit,
            sweeps=self.sweeps,
        )
        return [solution.weight for solution in found]
