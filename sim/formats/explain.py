"""The rounding of one number in a format, and its reason."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from numerics.formats import FloatFormat, Format, IntFormat, PowerOfTwoFormat, TableFormat
from sim.errors import user_errors
from sim.formats.lookup import grid


class Reason(StrEnum):
    """Reason why a number rounds to its value."""

    EXACT = "it is one of the values"
    NEARER = "it is the nearer neighbour"
    TIE = "the number lies half-way between two values"
    #: Thresholds that are not midpoints: float32 tables, powers of two rounded by their logarithm.
    THRESHOLD = "the format's threshold between the two values is not their midpoint"
    SATURATED = "the number exceeds the largest value and saturates"
    NO_VALUE = "the format has no value for it"
    SPECIAL = "it is not a finite number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A number, the value it rounds to, and the two neighbouring values."""

    number: float
    code: int
    value: float
    reason: Reason
    #: Nearest values at or below and at or above the number; ``None`` if there is no such value.
    below: float | None
    above: float | None

    @property
    def midpoint(self) -> float | None:
        """Midpoint of the neighbours; ``None`` unless both exist."""
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
    """Return how ``fmt`` rounds a number half-way between two values, as text."""
    match fmt:
        case FloatFormat():
            return "ties go to the even significand"
        case IntFormat():
            return "ties go to the even integer"
        case PowerOfTwoFormat():
            return "ties go up"
        case TableFormat() if fmt.boundaries:
            return "thresholds are not midpoints"
        case TableFormat() if all(fmt.ties_up) and fmt.ties_up:
            return "ties go to the upper value"
        case TableFormat() if any(fmt.ties_up):
            return "ties go to the even integer, and to 0 and 1 rather than 0.5"
        case _:
            return "ties go to the lower value"
