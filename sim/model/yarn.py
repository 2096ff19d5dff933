"""YaRN: rotary frequencies for contexts longer than those of training.

Sources: Peng et al., *YaRN: Efficient Context Window Extension of Large Language Models* (arXiv
2309.00071), sections 3.2 and 3.4; ``_compute_yarn_parameters`` in ``modeling_rope_utils.py`` of
transformers 5.24.
"""

import math
from dataclasses import dataclass

#: Defaults of ``beta_fast`` and ``beta_slow``.
BETAS = 32.0, 1.0
#: Width of the ramp where its two ends coincide.
LEAST_RAMP = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Yarn:
    """Interpolation by parts: slow pairs of values are slowed by ``factor``, fast ones are not.

    A pair that turns at least ``beta_fast`` times in the original context keeps its frequency, one
    that turns at most ``beta_slow`` times has it divided by ``factor``; in between, the two are
    mixed linearly in the index of the pair. With ``truncate`` the ends of that ramp are rounded to
    whole indices, outwards.

    Examples
    --------
    >>> yarn = Yarn(factor=4.0, original_positions=64, beta_fast=8.0, beta_slow=1.0)
    >>> [round(d, 2) for d in yarn.divisors(dim=8, theta=100.0)]
    [1.0, 1.33, 2.0, 4.0]
    """

    factor: float
    original_positions: int
    beta_fast: float = BETAS[0]
    beta_slow: float = BETAS[1]
    truncate: bool = True

    def __post_init__(self) -> None:
        if not self.beta_slow <= self.beta_fast:
            raise ValueError(
                f"beta_fast of YaRN must be at least beta_slow {self.beta_slow}, not "
                f"{self.beta_fast}"
            )

    def divisors(self, dim: int, theta: float) -> tuple[float, ...]:
        """Return the divisor of each of ``dim / 2`` frequencies; ``theta`` is greater than 1."""
        low = self._index_of(self.beta_fast, dim, theta)
        high = self._index_of(self.beta_slow, dim, theta)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        width = high - low if high != low else LEAST_RAMP

        def divisor(index: int) -> float:
            slow = min(max((index - low) / width, 0.0), 1.0)
            return 1.0 / (slow / self.factor + (1.0 - slow))

        return tuple(divisor(index) for index in range(dim // 2))

    def _index_of(self, turns: float, dim: int, theta: float) -> float:
        """Return the index of the pair that turns ``turns`` times in the original context."""
        wavelength = self.original_positions / (turns * 2 * math.pi)
        return dim * math.log(wavelength) / (2 * math.log(theta))


def attention_scale(factor: float, mscale: float = 1.0) -> float:
    """Return the factor on cosine and sine of a context extended by ``factor``."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0
