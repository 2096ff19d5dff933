"""Array code of BitMoD's PE: the twin of :mod:`numerics.pe.aligned`.

All numbers are 32-bit integers; :func:`check_bits` rejects PEs whose sums need more bits.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Int32, Int64, Integer, UInt

from numerics.pe.aligned import MANTISSA_BITS, AlignedDot, Rounding
from numerics.pe.terms import term_tables

_CODES = np.arange(2**16)
_FIELDS, _MANTISSAS = _CODES >> MANTISSA_BITS & 31, _CODES & 2**MANTISSA_BITS - 1
_SIZES = np.where(_FIELDS == 31, 0, _MANTISSAS + ((_FIELDS > 0) << MANTISSA_BITS))
#: Signed significand and exponent of every FP16 code.
SIGNIFICANDS = np.where(_CODES >> 15, -_SIZES, _SIZES)
EXPONENTS = np.where(_FIELDS == 31, 1, np.maximum(_FIELDS, 1))
#: Bits that the sum of a cycle may need; larger shifts give the same result as a shift by this.
MOST_BITS = 28
#: Bits of the widest two's complement number that float32 holds exactly.
MOST_ACCUMULATOR_BITS = 25
#: Number of rows of codes computed at once.
BLOCK = 1 << 16

#: Accumulators: arrays of mantissas and exponents.
State = tuple[Array, Array]


def check_bits(pe: AlignedDot) -> None:
    """Raise ValueError for a PE that 32-bit integers and float32 can't model exactly.

    The sum of a cycle has to fit in 32-bit integers with room to shift, and every accumulator in
    float32.
    """
    if pe.accumulator_bits > MOST_ACCUMULATOR_BITS:
        raise ValueError(
            f"an accumulator of {pe.accumulator_bits} bits is too wide; float32 holds results of"
            f" up to {MOST_ACCUMULATOR_BITS}"
        )
    significand = MANTISSA_BITS + 1 + pe.guard_bits + (pe.lanes - 1).bit_length()
    bits = max(significand + max(pe.generator.significances), pe.accumulator_bits) + 1
    if bits > MOST_BITS:
        raise ValueError(f"sums of {bits} bits are too wide; the limit is {MOST_BITS}")


def aligned_dots(
    pe: AlignedDot,
    weight_codes: Integer[np.ndarray, "*rows k"],
    codes: Integer[np.ndarray, "*rows k"],
) -> tuple[Int64[np.ndarray, "*rows"], Int64[np.ndarray, "*rows"]]:
    """Return mantissas and exponents of the accumulators after each group of rows of codes."""
    length = codes.shape[-1]
    pe.check(length)
    check_bits(pe)
    weights, activations = weight_codes.reshape(-1, length), codes.reshape(-1, length)
    found = np.empty((2, len(weights)), np.int64)
    for start in range(0, found.shape[1], BLOCK):
        rows = slice(start, start + BLOCK)
        found[:, rows] = _groups(
            pe, jnp.asarray(weights[rows], jnp.uint8), jnp.asarray(activations[rows], jnp.uint16)
        )
    mantissas, exponents = found.reshape(2, *codes.shape[:-1])
    return mantissas, exponents


@partial(jax.jit, static_argnames="pe")
def _groups(pe: AlignedDot, weights: UInt[Array, "rows k"], codes: UInt[Array, "rows k"]) -> State:
    """Return the accumulators after one group per row of codes."""
    beats = [each.T.reshape(-1, pe.lanes, len(codes)) for each in (weights, codes)]
    return accumulators(pe, *beats, shape=(len(codes),))


def accumulators(
    pe: AlignedDot,
    weights: UInt[Array, "beats lanes *n"],
    codes: UInt[Array, "beats lanes *t"],
    *,
    shape: tuple[int, ...],
) -> State:
    """Return accumulators of ``shape``, to which weights and activations of a lane broadcast."""

    def add_beat(state: State, beat: tuple[Array, Array]) -> tuple[State, None]:
        for step, significance in enumerate(pe.generator.significances):
            added, top = _beat(pe, step, *beat)
            state = accumulated(pe, *state, added << significance, top)
        return state, None

    zeros = jnp.zeros(shape, jnp.int32)
    state: State = lax.scan(add_beat, (zeros, zeros), (weights, codes))[0]
    return state


def _beat(
    pe: AlignedDot, step: int, weights: UInt[Array, " lanes *n"], codes: UInt[Array, " lanes *t"]
) -> State:
    """Return the sums of one cycle's products, aligned to the largest of their exponents."""
    signs, powers = (jnp.asarray(table[step])[weights] for table in term_tables(pe.generator))
    wide = codes.astype(jnp.int32)
    field, mantissa = wide >> MANTISSA_BITS & 31, wide & (1 << MANTISSA_BITS) - 1
    is_number = field < 31
    sizes = jnp.where(is_number, mantissa + ((field > 0) << MANTISSA_BITS), 0) << pe.guard_bits
    fields = jnp.where(is_number, jnp.maximum(field, 1), 1)
    ours = 1 - 2 * (wide >> 15)
    exponents = [fields[i] + powers[i] for i in range(pe.lanes)]
    top = reduce(jnp.maximum, exponents)
    added = [
        shifted(sizes[i], top - exponents[i], pe.rounding) * (ours[i] * signs[i])
        for i in range(pe.lanes)
    ]
    return reduce(jnp.add, added), top


def accumulated(
    pe: AlignedDot,
    mantissas: Int32[Array, "*rows"],
    exponents: Int32[Array, "*rows"],
    added: Int32[Array, "*rows"],
    top: Int32[Array, "*rows"],
) -> State:
    """Return accumulators after a sum, already shifted by its significance, is added to each."""
    larger = jnp.maximum(exponents, top)
    both = shifted(mantissas, larger - exponents, pe.rounding)
    both = both + shifted(added, larger - top, pe.rounding)
    bits = 32 - lax.clz(jnp.where(both < 0, ~both, both))
    places = jnp.maximum(bits - (pe.accumulator_bits - 1), 0)
    found = shifted(both, places, pe.rounding)
    is_beyond = (found == 1 << (pe.accumulator_bits - 1)).astype(jnp.int32)
    return found >> is_beyond, larger + places + is_beyond


def shifted(
    numbers: Int32[Array, "*shape"], places: Int32[Array, "*rows"], rounding: Rounding
) -> Int32[Array, "*rows"]:
    """Return numbers shifted right, rounded down or to nearest, ties to even."""
    places = jnp.minimum(places, MOST_BITS)
    floor: Array = numbers >> places
    if rounding == "truncate":
        return floor
    rest, one = numbers - (floor << places), 1 << places
    is_up = (2 * rest > one) | ((2 * rest == one) & (floor & 1 == 1))
    return floor + is_up
