"""One format for a tensor and a scale for each row, both found by exhaustive search.

Source: ANT, arXiv:2208.14286, section 4, and its code; LLM-FP4, arXiv:2310.16836, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.formats import FP32, SCALE_DTYPES, Format
from numerics.schemes.scheme import Field, Scheme
from numerics.ternary.reference import flushed, tree_sum

Float = np.float32
#: Fewest bits of a selector; more than four candidates need more.
SELECTOR_BITS = 2
MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched(Scheme, arrays="numerics.mixtures.searched_arrays"):
    """``value = number(code) * scale`` with the candidate and the scales of least squared error.

    A trial's scale is ``alpha / top``, where ``alpha = amax * factor`` for a factor of ``trials``
    and ``top`` is the candidate's largest value. Each row takes its best trial, the first on
    ties; the tensor takes the candidate whose rows have the least sum of squared errors, the
    first on ties. Numbers are float32, sums are :func:`numerics.schemes.scales.tree_sum`.

    A row of zeros has scale 1. A row with a NaN or an infinity dequantizes to NaN, its codes are 0,
    and its error counts as zero.
    """

    label: str
    candidates: tuple[Format, ...]
    trials: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.candidates)
        if not 1 <= count <= MAX_CANDIDATES or not self.trials:
            raise ValueError(
                f"a search has 1 to {MAX_CANDIDATES} candidates and some trials, not {count} "
                f"and {len(self.trials)}"
            )

    @property
    def name(self) -> str:
        """Name in the catalog."""
        return self.label

    @property
    def formats(self) -> tuple[Format, ...]:
        """The candidates in the order of their selectors."""
        return self.candidates

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes, scales of rows and the selector."""
        bits, byte = max(fmt.bits for fmt in self.candidates), np.dtype(np.uint8)
        of_selector = max(SELECTOR_BITS, (len(self.candidates) - 1).bit_length())
        return (
            Field(name="codes", shape=shape, bits=bits, dtype=byte, is_index=True),
            Field(name="scales", shape=shape[:-1], bits=FP32.bits, dtype=SCALE_DTYPES[FP32]),
            Field(name="selector", shape=(1,), bits=of_selector, dtype=byte),
        )


def search_row(
    values: Sequence[float], fmt: Format, trials: Sequence[float]
) -> tuple[np.float32, np.float32]:
    """Return the best scale of a row in a format, and its squared error.

    >>> from numerics.formats import E2M1
    >>> search_row([6.0, 3.0, 1.0], E2M1, (0.5, 1.0))
    (np.float32(1.0), np.float32(0.0))
    """
    row = flushed(values)
    amax = max(abs(x) for x in row)
    if not np.isfinite(amax):
        return Float(np.nan), Float(0)
    if amax == 0:
        return Float(1), Float(0)
    best = Float(1), Float(np.inf)
    for factor in trials:
        with np.errstate(over="ignore"):
            alpha = np.minimum(amax * Float(factor), Float(MAX_FLOAT32))
        scale = np.maximum(alpha / Float(fmt.max), Float(MIN_NORMAL))
        error = squared_error(row, [Float(fmt.round(float(x / scale))) * scale for x in row])
        if error < best[1]:
            best = scale, error
    return best


def squared_error(row: Sequence[np.float32], values: Sequence[np.float32]) -> np.float32:
    """Return the sum of squared differences; squares below 2^-126 count as zeros.

    >>> squared_error([np.float32(1), np.float32(3)], [np.float32(2), np.float32(3)])
    np.float32(1.0)
    """
    with np.errstate(over="ignore"):
        squares = [(v - x) * (v - x) for v, x in zip(values, row, strict=True)]
    return tree_sum(flushed([float(square) for square in squares]))
