"""OmniQuant's two parts: learned clipping of weights, and learned scales of channels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from numerics import QuantizedTensor, Scheme
from numerics.solvers.learned_scales import Layer, learned_scales
from numerics.solvers.lwc import learned_clip
from numerics.solvers.ranges import check_ranges
from sim.calibration.statistics import Statistics
from sim.methods.scales import (
    ROUNDING_OPTION,
    SITES_OPTION,
    Place,
    Rounding,
    Scaling,
    Sites,
    rounded,
)
from sim.methods.step import Solver, Weight

OMNIQUANT = "Shao et al., arXiv:2308.13137; the loss is each linear layer's own output error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lwc(Solver):
    """Learn the range of each group, then round to nearest."""

    name: ClassVar[str] = "lwc"
    summary: ClassVar[str] = "learn the range of each group by gradients, then round to nearest"
    source: ClassVar[str] = f"{OMNIQUANT}, and the search of initial ranges is qsim's own"
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and out * in^2 multiply-adds a step"
    )
    options: ClassVar[dict[str, str]] = {
        "sweeps": "visits of each group by the search of initial ranges; all there is for "
        "power-of-two scales",
        "steps": "steps of Adam; 0 keeps the initial ranges",
        "rate": "learning rate of Adam",
    }
    is_calibrated: ClassVar[bool] = True

    sweeps: int = 2
    steps: int = 100
    rate: float = 0.05

    def __post_init__(self) -> None:
        _check_learning(self.name, self.rate, steps=self.steps, sweeps=self.sweeps)

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise ValueError for schemes without a scale per row or group."""
        check_ranges(scheme)

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the nearest codes under the learned ranges."""
        assert statistics is not None
        return learned_clip(
            weight,
            statistics.hessian,
            scheme,
            sweeps=self.sweeps,
            steps=self.steps,
            rate=self.rate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Let(Scaling):
    """Learn the scale of each channel by gradients, from where an earlier step left it."""

    name: ClassVar[str] = "let"
    summary: ClassVar[str] = "scale channels by learned scales, with weights and inputs quantized"
    source: ClassVar[str] = f"{OMNIQUANT}, without shifts and without scales of q and k"
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and three times 512 * out * in + out * "
        "in^2 multiply-adds a step"
    )
    options: ClassVar[dict[str, str]] = {
        "steps": "steps of Adam, which keep the best scales",
        "rate": "learning rate of the logarithm of the scales",
        "sites": SITES_OPTION,
        "rounding": ROUNDING_OPTION,
    }
    needs_sample: ClassVar[bool] = True

    steps: int = 100
    rate: float = 0.01
    sites: Sites = "norms"
    rounding: Rounding = "none"

    def __post_init__(self) -> None:
        _check_learning(self.name, self.rate, steps=self.steps)

    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the scales with the least output error that Adam met."""
        statistics, block = place.statistics, place.block
        layers = tuple(
            Layer(
                weight=place.weight(member),
                weights=block.schemes[member],
                inputs=getattr(block.activations, site),
            )
            for member, site in place.consumers.items()
        )
        count = place.fold.by_scale(statistics.amax).shape[1]
        scales = learned_scales(
            layers,
            statistics.hessian,
            statistics.sample,
            statistics.sample_weights,
            place.fold.by_channel(np.arange(count)),
            steps=self.steps,
            rate=self.rate,
        )
        return rounded(scales, self.rounding)


def _check_learning(name: str, rate: float, **counts: int) -> None:
    for option, count in counts.items():
        if count < 0:
            raise ValueError(f"option {option} of {name} is {count}; at least 0")
    if not 0 < rate < np.inf:
        raise ValueError(f"option rate of {name} is {rate:g}; it must be a number above 0")
