"""E8P, the fixed codebook of QuIP#: 65536 points of the lattice E8 shifted by 1/4.

A point is ``±h ± 1/4`` with ``h`` one of 256 vectors of magnitudes in {1/2, 3/2, 5/2}. Seven of the
eight signs of ``h`` are free and the last one makes the sum of ``h`` even; the shift of 1/4 has one
sign for all eight coordinates. All numbers of this module are integers: points in units of 1/4, odd
numbers from -11 to 11, and inputs in units of 2^-12.

Source: QuIP#, arXiv:2402.04396, section 4 and its code (E8P12).
"""

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int, Int8, UInt32

DIMENSION = 8
ROWS = 256
#: Fraction bits of an input, an integer in units of ``2**-UNIT_BITS``.
UNIT_BITS = 12
#: Largest magnitude of an input, 8.0 in units of 2^-12; larger inputs saturate. Points end at 2.75.
MAX_UNITS = 8 << UNIT_BITS
#: Coordinate stored in each 4-bit field of a packed row, lowest field first.
PLACES = (0, 2, 4, 6, 1, 3, 5, 7)
#: QuIP#'s choice of 29 rows of squared norm 12, out of 56; the digits are twice the magnitudes.
NORM_12 = (
    "31113333 13113333 11313333 11133333 33313311 33313131 33311331 33313113 33311313 33311133 "
    "33133311 33133131 33131331 33133113 33131313 33131133 31333311 31333131 31331331 31333113 "
    "31331313 13331133 13333311 13333131 13331331 13333113 13331313 11331333 33113331"
)


@functools.cache
def rows() -> tuple[tuple[int, ...], ...]:
    """Return twice the 256 magnitude vectors: squared norms up to 10, then 29 of 12.

    >>> rows()[0], rows()[1]
    ((1, 1, 1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1, 3))
    """
    raised = itertools.product((1, 3, 5), repeat=DIMENSION)
    inner = [row for row in raised if sum(h * h for h in row) <= 4 * 10]
    return (*sorted(inner), *(tuple(map(int, text)) for text in NORM_12.split()))


def is_odd(row: Sequence[int]) -> bool:
    """Whether a row's magnitudes have an odd sum, so that an odd number of signs is negative."""
    return sum(row) // 2 % 2 == 1


def packed_row(row: Sequence[int]) -> int:
    """Return a row as the decoder's 32-bit word: fields of four bits, ``2 h + 8`` each.

    The last element of a row of odd sum is stored as negative; the code has all other signs.

    >>> f"{packed_row(rows()[1]):08X}"
    '59999999'
    """
    signed = [*row[:-1], -row[-1] if is_odd(row) else row[-1]]
    return sum((signed[element] + 8) << 4 * place for place, element in enumerate(PLACES))


@functools.cache
def packed_rows() -> "UInt32[np.ndarray, ' 256']":
    """Return the decoder's table: 256 packed rows, 1 KiB."""
    return np.array([packed_row(row) for row in rows()], np.uint32)


def decode(code: int) -> tuple[int, ...]:
    """Return the point of a 16-bit code in units of 1/4: high byte the row, low byte the signs.

    The parity of the low byte is the sign of the 1/4 shift, and is then XORed into its lowest bit.

    >>> decode(0x0000), decode(0x0001)
    ((3, 3, 3, 3, 3, 3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1))
    """
    word, signs = packed_row(rows()[code >> 8]), code & 0xFF
    parity = signs.bit_count() % 2
    signs ^= parity
    point = [0] * DIMENSION
    for place, element in enumerate(PLACES):
        doubled = (word >> 4 * place & 0xF) - 8
        sign = -1 if signs >> place & 1 else 1
        point[element] = 2 * sign * doubled + (-1 if parity else 1)
    return tuple(point)


def encode(units: Sequence[int]) -> int:
    """Return the code of the point nearest to eight integers in units of 2^-12.

    Among equally near points the one with ``+1/4`` wins, then the one of the lower row, then the
    one whose parity-fixing sign change is on the earlier element; zero counts as positive.

    >>> hex(encode([1229, -4915, 2867, 8602, -1638, 205, -10650, 4096]))
    '0x25dd'
    """
    candidates = (_best_of_row(units, row, parity) for parity in (0, 1) for row in range(ROWS))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _best_of_row(units: Sequence[int], row: int, parity: int) -> tuple[int, int]:
    """Return distance and code of the best signs of a row, for one sign of the 1/4 shift."""
    quarter = (1 << UNIT_BITS) // 4
    moved = [unit + (quarter if parity else -quarter) for unit in units]
    magnitudes = rows()[row]
    negative = [unit < 0 for unit in moved]
    if sum(negative) % 2 != is_odd(magnitudes):
        costs = [abs(unit) * h for unit, h in zip(moved, magnitudes, strict=True)]
        cheapest = costs.index(min(costs))
        negative[cheapest] = not negative[cheapest]
    half = (1 << UNIT_BITS) // 2
    signed = [-h if flip else h for h, flip in zip(magnitudes, negative, strict=True)]
    distance = sum((unit - half * h) ** 2 for unit, h in zip(moved, signed, strict=True))
    return distance, row << 8 | _sign_byte(negative, is_odd(magnitudes)) ^ parity


def _sign_byte(negative: Sequence[bool], last_is_stored_negative: bool) -> int:
    """Return a byte with a 1 for each element whose sign differs from the packed row's."""
    differs = [*negative[:-1], negative[-1] != last_is_stored_negative]
    return sum(differs[element] << place for place, element in enumerate(PLACES))


@functools.cache
def points() -> "Int8[np.ndarray, '65536 8']":
    """Return the points of all codes in units of 1/4, equal to :func:`decode` of each code."""
    codes = np.arange(1 << 16, dtype=np.uint32)
    words, signs = packed_rows()[codes >> 8], codes & 0xFF
    parity = np.bitwise_count(signs) & 1
    signs ^= parity
    found = np.empty((len(codes), DIMENSION), np.int8)
    for place, element in enumerate(PLACES):
        doubled = (words >> 4 * place & 0xF).astype(np.int8) - 8
        sign = 1 - 2 * (signs >> place & 1).astype(np.int8)
        found[:, element] = 2 * sign * doubled + 1 - 2 * parity.astype(np.int8)
    return found


@functools.cache
def e81b_points() -> "Int[np.ndarray, '256 8']":
    """Return twice the points of E81B, the codebook of 1 bit per weight for residuals of E8P.

    They are the points of E8 with squared norm up to 2, first those of integer coordinates, then
    those of half-integer ones, each in lexicographic order, and 15 of the 16 points with one
    coordinate ±2. Source: QuIP#'s code (E8P12RVQ3B).

    >>> e81b_points().shape, int((e81b_points() ** 2).sum() / 4)
    ((256, 8), 540)
    """
    integers = [row for row in itertools.product((-2, 0, 2), repeat=DIMENSION) if _is_short(row)]
    halves = [row for row in itertools.product((-1, 1), repeat=DIMENSION) if _is_short(row)]
    twos = [
        [sign * 4 if place == element else 0 for place in range(DIMENSION)]
        for sign in (1, -1)
        for element in range(DIMENSION)
    ]
    return np.array([*integers, *halves, *twos[:-1]], np.int32)


def _is_short(doubled: Sequence[int]) -> bool:
    """Whether a vector, given doubled, has an even sum and a squared norm of at most 2."""
    return sum(doubled) % 4 == 0 and sum(h * h for h in doubled) <= 4 * 2
