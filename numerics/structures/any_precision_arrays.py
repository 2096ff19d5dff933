"""Array code of nested codes."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.division import divide, fence
from numerics.codebooks import kmeans_arrays
from numerics.codebooks.kmeans_arrays import Centers
from numerics.schemes.tensor import QuantizedTensor
from numerics.structures.any_precision import PARENT_BITS, SEED_BITS, AllPrecisions, AnyPrecision

#: Sorted integers of each row; ``Sums`` are their prefix sums, the first of which is 0.
Values = Int32[Array, "rows n"]
Sums = Int32[Array, "rows n_and_1"]
#: Index in the sorted row at which each cluster starts or ends.
Ends = Int32[Array, "rows clusters"]


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: AnyPrecision | AllPrecisions) -> QuantizedTensor:
    """Return codes and their table; for :class:`AllPrecisions` the tables of all precisions."""
    if isinstance(scheme, AllPrecisions):
        arrays = _arrays(x, PARENT_BITS)
    else:
        nested = _arrays(x, scheme.bits)
        arrays = {"codes": nested["codes"], "codebook": nested[f"codebook_{scheme.bits}"]}
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the entries of the codes; :class:`AllPrecisions` reads its 8-bit table."""
    is_nested = isinstance(q.scheme, AllPrecisions)
    values: Array = kmeans_arrays.dequantize(at(q, PARENT_BITS) if is_nested else q)
    return values


def at(q: QuantizedTensor, bits: int) -> QuantizedTensor:
    """Return the tensor at a lower precision: the upper bits of the codes, and their table."""
    scheme = AnyPrecision(bits=bits)
    arrays = {"codes": q.codes >> (PARENT_BITS - bits), "codebook": q.arrays[f"codebook_{bits}"]}
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=q.shape)


def _arrays(x: Float32[Array, "*shape"], bits: int) -> dict[str, Array]:
    """Return the codes of ``bits`` bits, and the tables of all precisions up to ``bits``."""
    rows = kmeans_arrays.prepare(x)
    ordered = fence(jnp.sort(rows.values, axis=1))
    sums = fence(jnp.pad(jnp.cumsum(ordered, axis=1), ((0, 0), (1, 0))))
    centers = kmeans_arrays.train(rows.values, 1 << SEED_BITS)
    middles = (centers[:, 1:] + centers[:, :-1]) >> 1
    codes = jax.vmap(jnp.searchsorted)(middles, ordered).astype(jnp.int32)
    arrays = {}
    for precision in range(SEED_BITS, bits + 1):
        if precision > SEED_BITS:
            codes, centers = fence(_upscale(ordered, sums, codes, centers))
        stored = kmeans_arrays.stored_table(centers, rows)
        arrays[f"codebook_{precision}"] = stored.reshape(*x.shape[:-1], -1)
    places = jax.vmap(jnp.searchsorted)(ordered, rows.values)
    found = jnp.take_along_axis(codes, places, axis=1).astype(jnp.uint8)
    safe = jnp.where(rows.is_poisoned[:, None], jnp.uint8(0), found)
    return {"codes": safe.reshape(x.shape)} | arrays


def _upscale(
    ordered: Values, sums: Sums, codes: Int32[Array, "rows n"], centers: Centers
) -> tuple[Int32[Array, "rows n"], Int32[Array, "rows finer"]]:
    """Return codes and centers with one more bit."""
    count = centers.shape[1]
    ends = jax.vmap(lambda row: jnp.searchsorted(row, jnp.arange(count + 1)))(codes)
    cuts = _cuts(ordered, sums, ends[:, :-1], ends[:, 1:])
    place = jnp.arange(ordered.shape[1])
    finer = 2 * codes + (place >= jnp.take_along_axis(cuts, codes, axis=1))
    interleaved = jnp.stack([ends[:, :-1], cuts], axis=2).reshape(len(ends), -1)
    finer_ends = jnp.concatenate([interleaved, ends[:, -1:]], axis=1)
    counts = jnp.diff(finer_ends, axis=1)
    totals = jnp.diff(jnp.take_along_axis(sums, finer_ends, axis=1), axis=1)
    return finer, kmeans_arrays.means(totals, counts, jnp.repeat(centers, 2, axis=1))


def _cuts(ordered: Values, sums: Sums, start: Ends, stop: Ends) -> Ends:
    """Return where the upper part of each cluster starts, equal to ``any_precision.cut``."""

    def at(where: Ends) -> Ends:
        return jnp.take_along_axis(ordered, jnp.clip(where, 0, ordered.shape[1] - 1), axis=1)

    def total(first: Ends, last: Ends) -> Float32[Array, "rows clusters"]:
        ends = (jnp.take_along_axis(sums, place, axis=1) for place in (last, first))
        return (next(ends) - next(ends)).astype(jnp.float32)

    def bisect(_: Array, bounds: tuple[Ends, Ends]) -> tuple[Ends, Ends]:
        low, high = bounds
        middle = (low + high) >> 1
        below = divide(total(start, middle), (middle - start).astype(jnp.float32))
        above = divide(total(middle, stop), (stop - middle).astype(jnp.float32))
        midpoint = fence(fence(below) + fence(above)) * 0.5
        is_lower, is_higher = at(middle - 1) > midpoint, at(middle) < midpoint
        new_low = jnp.where(is_lower, low, jnp.where(is_higher, middle + 1, middle))
        new_high = jnp.where(is_lower, jnp.maximum(low, middle - 1), middle)
        new_high = jnp.where(~is_lower & is_higher, high, new_high)
        is_open = low < high
        return jnp.where(is_open, new_low, low), jnp.where(is_open, new_high, high)

    rounds = ordered.shape[1].bit_length()
    low, _ = lax.fori_loop(0, rounds, bisect, (start + 1, stop - 1))
    together = jax.vmap(partial(jnp.searchsorted, side="right"))(ordered, at(low - 1))
    return jnp.where(start == stop, stop, jnp.minimum(together, stop)).astype(jnp.int32)
