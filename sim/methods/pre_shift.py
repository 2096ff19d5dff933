"""LLM-FP4's pre-shifted exponents: channels of small inputs are multiplied by powers of two."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32

from sim.methods.scales import SITES_OPTION, Place, Scaling, Sites

#: Offsets of the common exponent that are tried, in powers of two.
OFFSETS = tuple(step / 8 for step in range(-8, 17))


def shift_scales(
    largest: Float[np.ndarray, " n"], bits: int, offset: float = 0.0
) -> Float32[np.ndarray, " n"]:
    """Return ``2^-k`` with ``k = clip(round(log2(max / max_j) - offset), 0, 2^bits - 1)``.

    A channel that no token activates isn't shifted.

    Examples
    --------
    >>> shift_scales(np.array([1.0, 0.15, 8.0, 1.0]), 2).tolist()
    [0.125, 0.125, 1.0, 0.125]
    """
    live = largest > 0
    if not live.any():
        return np.ones(len(largest), np.float32)
    ratio = np.log2(largest.max() / np.where(live, largest, largest.max()))
    shifts = np.clip(np.rint(ratio - offset), 0, 2**bits - 1).astype(np.int32)
    return np.where(live, np.ldexp(np.float32(1), -shifts), np.float32(1)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreShift(Scaling):
    """Shift the exponents of channels whose inputs are small, by few bits each."""

    name: ClassVar[str] = "pre-shift"
    summary: ClassVar[str] = "multiply channels of small inputs by powers of two of few bits"
    source: ClassVar[str] = (
        "Liu et al., arXiv:2310.16836, section 3; folded before weights are quantized, and the "
        "search by offset is qsim's own"
    )
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and out * in^2 multiply-adds a candidate"
    )
    options: ClassVar[dict[str, str]] = {
        "bits": "bits of a channel's shift; the paper's are the exponent bits of the inputs",
        "sites": SITES_OPTION,
    }
    needs_sample: ClassVar[bool] = True

    bits: int = 2
    sites: Sites = "norms"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 4:
            raise ValueError(f"bits of pre-shift is {self.bits}; it can be 1 to 4")

    def choose(self, place: Place) -> Float32[np.ndarray, " m"]:
        """Return the shifts with the least output error, or no shift if they are no better."""
        largest = place.largest(place.statistics.amax)
        tried = [shift_scales(largest, self.bits, offset) for offset in OFFSETS]
        candidates = np.unique(np.stack(tried), axis=0)[::-1]
        candidates = np.concatenate([np.ones_like(candidates[:1]), candidates])
        best: np.ndarray = candidates[np.argmin(place.joint_errors(candidates))]
        return best
