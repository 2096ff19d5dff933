"""Transforms that divide the inputs of linear layers by a scale for each channel.

The scale goes into the columns of the layers and into what produces their inputs, see
:mod:`sim.methods.folding`. The steps differ in how they choose it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32

from numerics.solvers.scales import (
    awq_scales,
    input_errors,
    power_of_two,
    smooth_scales,
    weight_errors,
)
from sim.calibration.statistics import Statistics
from sim.methods.block import Block
from sim.methods.folding import SITES, Fold, check_site, folds
from sim.methods.step import BlockTransform
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics

Candidates = Float32[np.ndarray, "k m"]
#: Sites that a step scales: every legal one, those behind a norm, or a single one.
Sites = Literal["all", "norms", "qkv", "o", "gate_up", "down"]
SITE_GROUPS = {"all": SITES, "norms": ("qkv", "gate_up")}
#: Rounding of scales.
Rounding = Literal["none", "power-of-two"]
#: Candidates are in memory at once.
MOST_CANDIDATES = 1000
SITES_OPTION = "sites to scale: all legal ones, those behind a norm, or one"
ROUNDING_OPTION = "rounding of the scales"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One fold of a block, and the quantized linear layers whose inputs it divides."""

    block: Block
    fold: Fold

    @property
    def consumers(self) -> dict[str, str]:
        """Site of each quantized linear layer, by its name."""
        every = self.fold.consumers(self.block.config)
        return {member: site for member, site in every.items() if member in self.block.schemes}

    @property
    def statistics(self) -> Statistics:
        """Statistics of the inputs; the sites of a fold read the same input."""
        return self.block.statistics[self.fold.sites[0]]

    def weight(self, member: str) -> Float32[np.ndarray, "out n"]:
        """Return a matrix of the block."""
        return self.block.tensors[f"{member}.weight"]

    def largest_weights(self) -> Float[np.ndarray, " m"]:
        """Return the largest magnitude of the columns of each scale, over all consumers."""
        members = self.fold.consumers(self.block.config)
        columns = np.max([np.abs(self.weight(m)).max(axis=0) for m in members], axis=0)
        return self.largest(columns)

    def largest(self, channels: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """Return the largest value of the channels of each scale."""
        found: np.ndarray = self.fold.by_scale(channels).max(axis=0)
        return found

    def mean(self, channels: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """Return the mean of the channels of each scale."""
        found: np.ndarray = self.fold.by_scale(channels).mean(axis=0)
        return found

    def weight_errors(self, candidates: Candidates) -> Float[np.ndarray, " k"]:
        """Return the output error of each candidate with float activations."""
        channels = self.fold.by_channel(candidates)
        return _total(
            weight_errors(
                self.weight(member),
                self.block.statistics[site].hessian,
                self.block.schemes[member],
                channels,
            )
            for member, site in self.consumers.items()
        )

    def joint_errors(self, candidates: Candidates) -> Float[np.ndarray, " k"]:
        """Return the output error of each candidate with inputs rounded too.

        The error of the weights is that of all tokens, the error of the inputs that of the sample.
        """
        channels = self.fold.by_channel(candidates)
        sample, row_weights = self.statistics.sample, self.statistics.sample_weights
        from_inputs = [
            input_errors(
                self.weight(member),
                sample,
                row_weights,
                (self.block.schemes[member], inputs),
                channels,
            )
            for member, site in self.consumers.items()
            if (inputs := getattr(self.block.activations, site)) is not None
        ]
        errors = self.weight_errors(candidates)
        return errors + _total(from_inputs) if from_inputs else errors


def _total(errors: Iterable[Float[np.ndarray, " k"]]) -> Float[np.ndarray, " k"]:
    total: np.ndarray = np.sum([np.asarray(e, np.float64) for e in errors], axis=0)
    return total


class Scaling(BlockTransform):
    """A transform that chooses a scale for each place of a block, one after another."""

    is_calibrated: ClassVar[bool] = True

    sites: Sites

    def check(self, config: ModelConfig, activations: LayerNumerics) -> None:
        """Raise ValueError for a single site that is not legal in the model."""
        if self.sites in SITES:
            check_site(config, self.sites)

    def apply(self, block: Block) -> None:
        """Scale every chosen place with quantized layers."""
        for place in self._places(block):
            scales = self.choose(place)
            # Dividing by 1 could change the last bit of a norm with an offset.
            if (scales != 1).any():
                place.fold.apply(block, scales)

    def _places(self, block: Block) -> Iterator[Place]:
        wanted = SITE_GROUPS.get(self.sites, (self.sites,))
        for fold in folds(block.config):
            place = Place(block=block, fold=fold)
            is_chosen = any(site in wanted for site in fold.sites)
            if is_chosen and block.sites.issuperset(fold.sites) and place.consumers:
                yield place

    @abstractmethod
    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the scales of a place."""


def rounded(
    scales: Float32[np.ndarray, "*shape"], rounding: Rounding
) -> Float32[np.ndarray, "*shape"]:
    """Return scales as the option ``rounding`` of a step says."""
    return scales if rounding == "none" else power_of_two(scales)


@dataclass(frozen=True, slots=True, kw_only=True)
class Awq(Scaling):
    """Search the power of the mean input magnitude that scales channels best."""

    name: ClassVar[str] = "awq"
    summary: ClassVar[str] = "scale channels by a power of their mean input, found by a search"
    source: ClassVar[str] = (
        "Lin et al., arXiv:2306.00978, and its public code; the loss is each linear layer's own "
        "output error, and v shares scales under grouped queries"
    )
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and out * in^2 multiply-adds a candidate"
    )
    options: ClassVar[dict[str, str]] = {
        "candidates": "number of powers, from 0 (no scaling) in steps of 1 / candidates",
        "sites": SITES_OPTION,
        "rounding": ROUNDING_OPTION,
    }

    candidates: int = 20
    sites: Sites = "all"
    rounding: Rounding = "none"

    def __post_init__(self) -> None:
        _check_candidates(self.name, self.candidates)

    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the candidate with the least output error, the first of equals."""
        statistics = place.statistics
        mean = place.mean(statistics.magnitude / statistics.tokens)
        scales = [awq_scales(mean, power) for power in _powers(self.candidates)]
        candidates = rounded(np.stack(scales), self.rounding)
        best: np.ndarray = candidates[np.argmin(place.weight_errors(candidates))]
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothQuant(Scaling):
    """Move the range of inputs into the weights by a fixed power."""

    name: ClassVar[str] = "smoothquant"
    summary: ClassVar[str] = "divide inputs by a power of their range, and multiply weights by it"
    source: ClassVar[str] = "Xiao et al., arXiv:2211.10438, and its public code"
    cost: ClassVar[str] = "two forward passes over the calibration tokens"
    options: ClassVar[dict[str, str]] = {
        "alpha": "power of the input range; 1 - alpha is that of the weight range",
        "percentile": "percentile of a channel's magnitudes that counts as its range; below 100 "
        "it is taken on a sample, so that single tokens don't set it",
        "sites": SITES_OPTION,
        "rounding": ROUNDING_OPTION,
    }
    needs_sample: ClassVar[bool] = True

    alpha: float = 0.5
    percentile: float = 100.0
    sites: Sites = "norms"
    rounding: Rounding = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                f"alpha of smoothquant is {self.alpha:g}; it must lie in 0..1, the usual one is 0.5"
            )
        if not 0 < self.percentile <= 100:
            raise ValueError(
                f"percentile of smoothquant is {self.percentile:g}; it must lie above 0 and be at "
                "most 100, the largest magnitude"
            )

    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the scales of the formula."""
        statistics = place.statistics
        ranges = statistics.amax
        if self.percentile < 100:
            ranges = _percentile(statistics, self.percentile)
        scales = smooth_scales(place.largest(ranges), place.largest_weights(), self.alpha)
        return rounded(scales, self.rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aqas(Scaling):
    """Search the scale with weights and inputs quantized."""

    name: ClassVar[str] = "aqas"
    summary: ClassVar[str] = "scale channels by what is best with weights and inputs quantized"
    source: ClassVar[str] = (
        "Lee et al., arXiv:2311.05161 (objective); the candidates are those of AWQ and SmoothQuant"
    )
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and 512 * out * in multiply-adds a "
        "candidate"
    )
    options: ClassVar[dict[str, str]] = {
        "candidates": "number of powers of each of the two formulas, in steps of 1 / candidates",
        "sites": SITES_OPTION,
        "rounding": ROUNDING_OPTION,
    }
    needs_sample: ClassVar[bool] = True

    candidates: int = 20
    # Few tokens have most of the range of the inputs of down, too few for a sample.
    sites: Sites = "norms"
    rounding: Rounding = "none"

    def __post_init__(self) -> None:
        _check_candidates(self.name, self.candidates)

    def check(self, config: ModelConfig, activations: LayerNumerics) -> None:
        """Raise ValueError without rounded inputs, or for a site that is not legal."""
        Scaling.check(self, config, activations)
        if all(getattr(activations, site) is None for site in SITES):
            raise ValueError(
                "aqas chooses scales for quantized activations; add --activations int8, or take "
                "awq for float ones"
            )

    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the candidate with the least output error on the sample, the first of equals."""
        statistics = place.statistics
        mean = place.mean(statistics.magnitude / statistics.tokens)
        largest = place.largest(statistics.amax)
        weights, powers = place.largest_weights(), _powers(self.candidates)
        scales = [awq_scales(mean, power) for power in powers]
        scales += [smooth_scales(largest, weights, power) for power in powers]
        candidates = rounded(np.stack(scales), self.rounding)
        best: np.ndarray = candidates[np.argmin(place.joint_errors(candidates))]
        return best


def _percentile(statistics: Statistics, percentile: float) -> Float[np.ndarray, " n"]:
    """Return a percentile of each channel's magnitudes, estimated from the sample."""
    found: np.ndarray = np.percentile(
        np.abs(statistics.sample),
        percentile,
        axis=0,
        method="inverted_cdf",
        weights=statistics.sample_weights,
    )
    return found


def _powers(count: int) -> list[float]:
    return [i / count for i in range(count)]


def _check_candidates(name: str, count: int) -> None:
    if not 1 <= count <= MOST_CANDIDATES:
        raise ValueError(f"candidates of {name} is {count}; it can be 1 to {MOST_CANDIDATES}")
