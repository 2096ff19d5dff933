"""Units of results as text."""

from math import frexp, prod


def in_units(*units: float | None) -> str:
    """Return the text of a product of units; empty for a unit of 1.

    >>> in_units(0.5, 2.0**-24), in_units(1.0, 1.0)
    (', in units of 2^-25', '')
    """
    unit = prod(unit for unit in units if unit is not None)
    return "" if unit == 1.0 else f", in units of {power(unit)}"


def power(number: float) -> str:
    """Return a power of two as ``2^n``, other numbers in full.

    >>> power(0.5 * 2.0**-24), power(1.0), power(3.0)
    ('2^-25', '1', '3.0')
    """
    fraction, exponent = frexp(number)
    return "1" if number == 1 else f"2^{exponent - 1}" if fraction == 0.5 else repr(number)
