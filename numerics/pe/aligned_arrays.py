"""Many groups through BitMoD's PE at once: the array twin of :mod:`numerics.pe.aligned`."""

import numpy as np
from jaxtyping import Int64, Integer

from numerics.pe.aligned import MANTISSA_BITS, AlignedDot, Rounding
from numerics.pe.terms import term_tables

_CODES = np.arange(2**16)
_FIELDS, _MANTISSAS = _CODES >> MANTISSA_BITS & 31, _CODES & 2**MANTISSA_BITS - 1
_SIZES = np.where(_FIELDS == 31, 0, _MANTISSAS + ((_FIELDS > 0) << MANTISSA_BITS))
#: Signed significand and exponent of every FP16 code.
SIGNIFICANDS = np.where(_CODES >> 15, -_SIZES, _SIZES)
EXPONENTS = np.where(_FIELDS == 31, 1, np.maximum(_FIELDS, 1))
#: A shift of 64-bit numbers by more than this changes nothing more.
MOST_PLACES = 62
#: Groups at a time.
BLOCK = 2048


def aligned_dots(
    pe: AlignedDot,
    weight_codes: Integer[np.ndarray, "*rows k"],
    codes: Integer[np.ndarray, "*rows k"],
) -> tuple[Int64[np.ndarray, "*rows"], Int64[np.ndarray, "*rows"]]:
    """Return mantissas and exponents of the accumulators after groups of rows of codes."""
    length = codes.shape[-1]
    pe.check(length)
    weights, activations = weight_codes.reshape(-1, length), codes.reshape(-1, length)
    found = np.empty((2, len(weights)), np.int64)
    for start in range(0, found.shape[1], BLOCK):
        rows = slice(start, start + BLOCK)
        found[:, rows] = _groups(pe, weights[rows], activations[rows])
    mantissas, exponents = found.reshape(2, *codes.shape[:-1])
    return mantissas, exponents


def _groups(
    pe: AlignedDot, weight_codes: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the accumulators of as many groups as the caches hold."""
    shape = (len(codes), -1, pe.lanes)
    weights, activations = weight_codes.reshape(shape), codes.reshape(shape)
    mantissas = exponents = np.zeros(len(codes), np.int64)
    for beat in range(weights.shape[-2]):
        lanes, fields = activations[..., beat, :], weights[..., beat, :]
        for step, significance in enumerate(pe.generator.significances):
            added, top = _beat(pe, step, fields, lanes)
            mantissas, exponents = accumulated(pe, mantissas, exponents, added << significance, top)
    return mantissas, exponents


def _beat(
    pe: AlignedDot, step: int, weights: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    signs, powers = (table[step].astype(np.int64) for table in term_tables(pe.generator))
    exponents = EXPONENTS[codes] + powers[weights]
    top = exponents.max(axis=-1)
    products = (SIGNIFICANDS[codes] << pe.guard_bits) * signs[weights]
    sizes = _shifted(np.abs(products), top[..., None] - exponents, pe.rounding)
    return (np.sign(products) * sizes).sum(axis=-1), top


def accumulated(
    pe: AlignedDot, mantissas: np.ndarray, exponents: np.ndarray, added: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return accumulators after one more sum each, whose significance is already in it."""
    larger = np.maximum(exponents, top)
    both = _shifted(mantissas, larger - exponents, pe.rounding)
    both = both + _shifted(added, larger - top, pe.rounding)
    # frexp gives the bit length.
    places = np.frexp(np.where(both < 0, ~both, both).astype(np.float64))[1].astype(np.int64)
    places = np.maximum(places - (pe.accumulator_bits - 1), 0)
    found = _shifted(both, places, pe.rounding)
    is_beyond = found == 1 << (pe.accumulator_bits - 1)
    return found >> is_beyond, larger + places + is_beyond


def _shifted(numbers: np.ndarray, places: np.ndarray, rounding: Rounding) -> np.ndarray:
    places = np.minimum(places, MOST_PLACES)
    floor: np.ndarray = numbers >> places
    if rounding == "truncate":
        return floor
    rest, one = numbers - (floor << places), np.left_shift(1, places)
    is_up = (2 * rest > one) | ((2 * rest == one) & (floor & 1 == 1))
    found: np.ndarray = floor + is_up
    return found
