"""How a number rounds in a format, and why."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from numerics.formats import FloatFormat, Format, IntFormat, PowerOfTwoFormat, TableFormat
from sim.errors import user_errors
from sim.formats.lookup import grid


class Reason(StrEnum):
    """Why a number becomes the value it becomes."""

    EXACT = "it is one of the values"
    NEARER = "it is the nearer neighbour"
    TIE = "the number lies half way between two values"
    #: As with a table whose thresholds are float32, or powers of two rounded by their logarithm.
    THRESHOLD = "the threshold of the format between the two lies elsewhere than half way"
    SATURATED = "the number lies beyond the last value, and saturates"
    NO_VALUE = "the format has no value for it"
    SPECIAL = "it is no finite number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A number, what it becomes, and the two values around it."""

    number: float
    code: int
    value: float
    reason: Reason
    #: The values at or below and at or above the number; ``None`` beyond the ends.
    below: float | None
    above: float | None

    @property
    def midpoint(self) -> float | None:
        """Half way between the neighbours, ``None`` without two of them."""
        if self.below is None or self.above is None or self.below == self.above:
            return None
        return float((Fraction(self.below) + Fraction(self.above)) / 2)


def explain(fmt: Format, number: float) -> Explanation:
    """Return how ``number`` rounds in ``fmt`` by the format's own scalar definition.

    Examples
    --------
    >>> from numerics.formats import E2M1
    >>> found = explain(E2M1, 2.5)
    >>> found.below, found.above, found.value, found.reason.name
    (2.0, 3.0, 2.0, 'TIE')
    """
    with user_errors(ValueError):
        code = fmt.encode(number)
    values = grid(fmt)
    below, above = (None, None) if math.isnan(number) else _neighbours(values, number)
    value = fmt.decode(code)
    return Explanation(
        number=number,
        code=code,
        value=value,
        reason=_reason(number, value, below, above),
        below=below,
        above=above,
    )


def _neighbours(values: tuple[float, ...], number: float) -> tuple[float | None, float | None]:
    index = bisect_right(values, number)
    below = values[index - 1] if index else None
    if below == number:
        return below, below
    return below, values[index] if index < len(values) else None


def _reason(number: float, value: float, below: float | None, above: float | None) -> Reason:
    if not math.isfinite(number):
        return Reason.SPECIAL
    if not math.isfinite(value):
        return Reason.NO_VALUE
    if below is None or above is None:
        return Reason.SATURATED
    if below == above:
        return Reason.EXACT
    to_below, to_above = Fraction(number) - Fraction(below), Fraction(above) - Fraction(number)
    if to_below == to_above:
        return Reason.TIE
    is_nearer = (to_below < to_above) == (value == below)
    return Reason.NEARER if is_nearer else Reason.THRESHOLD


def tie_rule(fmt: Format) -> str:
    """Return in words where a number half way between two values of ``fmt`` goes."""
    match fmt:
        case FloatFormat():
            return "ties go to the even significand"
        case IntFormat():
            return "ties go to the even integer"
        case PowerOfTwoFormat():
            return "ties go up"
        case TableFormat() if fmt.boundaries:
            return "thresholds lie elsewhere than half way"
        case TableFormat() if all(fmt.ties_up) and fmt.ties_up:
            return "ties go to the upper value"
        case TableFormat() if any(fmt.ties_up):
            return "ties go to the even integer, and to 0 and 1 rather than a half"
        case _:
            return "ties go to the lower value"
