"""Cast of FP4 weights to FP8 by shifting their exponent, which needs no multiplier."""

from numerics.formats import E2M1, E4M3, E5M2, FloatFormat
from numerics.formats.base import check_code

SIGN, FIELD_HALF = 3, 0b001


def shift_cast(code: int, shift: int, *, target: FloatFormat) -> int:
    """Return the FP8 code of ``e2m1(code) * 2^shift``, by integer operations on the fields.

    The exponent field of a normal number changes by ``shift`` and the difference of the biases;
    results below the smallest normal number are rounded half to even. The cast is exact for shifts
    from -8 to 6 in E4M3, and from -15 to 13 in E5M2; larger shifts raise ValueError. Source:
    ZeroQuant-FP, arXiv:2307.09782, section 3.

    >>> [hex(shift_cast(code, -3, target=E4M3)) for code in (0, 1, 2, 3, 7, 15)]
    ['0x0', '0x18', '0x20', '0x24', '0x34', '0xb4']
    >>> hex(shift_cast(1, -9, target=E4M3)), hex(shift_cast(3, -9, target=E4M3))
    ('0x0', '0x2')
    """
    check_code(E2M1, code)
    check_target(target, shift)
    sign, magnitude = code >> SIGN, code & 0b111
    if magnitude == 0:
        return sign << (target.bits - 1)
    field, mantissa = magnitude >> 1, magnitude & 1
    if magnitude == FIELD_HALF:
        # The code of 0.5 is subnormal in E2M1: it becomes 1.0 of the next lower binade.
        field, mantissa = 0, 0
    field += target.bias - E2M1.bias + shift
    significand = (2 | mantissa) << (target.mantissa_bits - 1)
    if field >= 1:
        value = (field << target.mantissa_bits) | (significand & ((1 << target.mantissa_bits) - 1))
    else:
        value = shifted_to_even(significand, 1 - field)
    return sign << (target.bits - 1) | value


def shifted_to_even(number: int, places: int) -> int:
    """Return ``number / 2^places`` rounded half to even.

    >>> [shifted_to_even(n, 2) for n in (1, 2, 3, 6, 7)], shifted_to_even(12, 100)
    ([0, 0, 1, 2, 2], 0)
    """
    quotient, rest = number >> places, number & ((1 << places) - 1)
    half = 1 << places >> 1
    return quotient + (rest > half or (rest == half and quotient % 2 == 1))


def check_target(target: FloatFormat, shift: int) -> None:
    """Raise :class:`ValueError` for targets other than FP8 and for shifts that overflow."""
    if target not in (E4M3, E5M2):
        raise ValueError(f"FP4 is cast to fp8_e4m3 or fp8_e5m2, not {target.name}")
    if E2M1.max * 2.0**shift > target.max:
        raise ValueError(f"6 * 2^{shift} is above {target.max:g}, the largest {target.name} value")
