"""Array code of BitMoD's PE: the twin of :mod:`numerics.pe.aligned`.

All numbers are 32-bit integers; :mod:`numerics.pe.aligned_limits` rejects PEs whose sums need more
bits.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Int32, UInt

from numerics.pe.aligned import MANTISSA_BITS, AlignedDot, Rounding
from numerics.pe.aligned_limits import MOST_BITS
from numerics.pe.terms import term_tables

#: Accumulators: arrays of mantissas and exponents.
State = tuple[Array, Array]


@partial(jax.jit, static_argnames="pe")
def group_sums(
    pe: AlignedDot, weights: UInt[Array, "rows k"], codes: UInt[Array, "rows k"]
) -> State:
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
