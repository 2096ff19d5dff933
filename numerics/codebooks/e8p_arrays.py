"""Array code of E8P: exact nearest points, and values.

All but 29 of the 256 rows are the permutations of seven multisets of magnitudes. The best
permutation of a multiset assigns its larger magnitudes to the larger inputs, so sorting the inputs
replaces 227 candidates by seven; the other 29 rows are tried one by one.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float16, Float32, Int32, Shaped

from numerics.arithmetic.division import divide, fence, multiply
from numerics.codebooks import e8p
from numerics.codebooks.e8p import DIMENSION, MAX_UNITS, ROWS, UNIT_BITS
from numerics.codebooks.e8p_scheme import E8P, RESIDUAL_SCALES, Stage
from numerics.codebooks.row_norm import norm_scales
from numerics.codebooks.search import best_index
from numerics.schemes.scheme import Field
from numerics.schemes.tensor import QuantizedTensor

#: Input vectors in units of 2^-12: row i holds coordinate i of every vector.
Units = Int32[Array, "8 n"]

_MAGNITUDES = np.array(e8p.rows(), np.int32)
_IS_ODD = np.array([e8p.is_odd(row) for row in e8p.rows()])
#: Indices of the 29 rows of squared norm 12, which are tried one by one.
_OTHERS = np.arange(227, ROWS)
_ROW_OF = {row: index for index, row in enumerate(e8p.rows())}


def _row_table(raise_to: dict[int, int]) -> np.ndarray:
    """Return, for each bit mask, the row with doubled magnitude 3 at its bits and 1 elsewhere.

    ``raise_to`` replaces the magnitudes of some elements.
    """
    table = np.zeros(1 << DIMENSION, np.int32)
    for mask in range(1 << DIMENSION):
        row = [raise_to.get(i, 3 if mask >> i & 1 else 1) for i in range(DIMENSION)]
        table[mask] = _ROW_OF.get(tuple(row), 0)
    return table


#: Row index by the bit mask of elements with doubled magnitude 3: ``_ROW_3`` without an element of
#: doubled magnitude 5; ``_ROW_5[i]`` with element i at 5.
_ROW_3 = _row_table({})
_ROW_5 = np.stack([_row_table({element: 5}) for element in range(DIMENSION)])


def encode(units: Units) -> Int32[Array, " n"]:
    """Return the code of the point nearest to each column, equal to ``e8p.encode`` of it."""
    quarter = (1 << UNIT_BITS) // 4
    scores, codes = zip(
        *(_best_in_coset(units - quarter, 0), _best_in_coset(units + quarter, 1)), strict=True
    )
    total = jnp.sum(units, axis=0)
    # Twice a score plus or minus the sum of the inputs compares squared distances of both cosets.
    is_plus = 2 * scores[0] + total >= 2 * scores[1] - total
    return jnp.where(is_plus, codes[0], codes[1])


def _best_in_coset(units: Units, parity: int) -> tuple[Int32[Array, " n"], Int32[Array, " n"]]:
    """Return the largest ``units . h - |h|**2 * 2**10`` over the points ``h``, and its code."""
    magnitudes, negative = jnp.abs(units), units < 0
    is_odd = jnp.sum(negative, axis=0) % 2 == 1
    keys = jnp.stack([*_ordered_keys(magnitudes, is_odd), _other_key(magnitudes, is_odd)])
    key = fence(jnp.max(keys, axis=0))
    row = ROWS - 1 - (key & (ROWS - 1))
    chosen = jnp.asarray(_MAGNITUDES.T)[:, row]
    must_flip = is_odd != jnp.asarray(_IS_ODD)[row]
    costs = magnitudes * chosen
    element = jnp.arange(DIMENSION)[:, None]
    cheapest = _first(costs == jnp.min(costs, axis=0))
    negative = negative ^ (must_flip & (element == cheapest))
    negative = negative ^ (jnp.asarray(_IS_ODD)[row] & (element == DIMENSION - 1))
    places = jnp.asarray(np.argsort(e8p.PLACES))[:, None]
    signs = jnp.sum(negative.astype(jnp.int32) << places, axis=0)
    return key >> 8, row << 8 | (signs ^ parity)


def _first(where: Bool[Array, "8 n"]) -> Int32[Array, " n"]:
    """Return the index of the first element that is true in each column, 8 if there is none."""
    element = jnp.arange(DIMENSION)[:, None]
    return jnp.min(jnp.where(where, element, DIMENSION), axis=0)


def _key(score: Int32[Array, "*n"], row: Int32[Array, "..."]) -> Int32[Array, "*n"]:
    """Return a sort key: larger scores first; among equal scores, lower rows first."""
    return score * ROWS + (ROWS - 1 - row)


def _norm(row: int) -> int:
    """Return the squared norm of a row in the units of scores."""
    return int((_MAGNITUDES[row] ** 2).sum()) << (UNIT_BITS - 2)


def _ordered_keys(magnitudes: Units, is_odd: Bool[Array, " n"]) -> list[Int32[Array, " n"]]:
    """Return the key of the best permutation of each multiset of magnitudes.

    Among equal inputs the later one counts as larger, which gives the lower row.
    """
    rank = jnp.zeros(magnitudes.shape, jnp.int32)
    for shift in range(1, DIMENSION):
        other = jnp.roll(magnitudes, -shift, axis=0)
        is_later = (jnp.arange(DIMENSION) < DIMENSION - shift)[:, None]
        rank += (other > magnitudes) | (is_later & (other == magnitudes))
    sum_of_all = jnp.sum(magnitudes, axis=0)
    least = jnp.sum(jnp.where(rank == DIMENSION - 1, magnitudes, 0), axis=0)
    ordered = [jnp.sum(jnp.where(rank == r, magnitudes, 0), axis=0) for r in range(4)]
    bit = 1 << jnp.arange(DIMENSION, dtype=jnp.int32)[:, None]
    bits = [jnp.sum(jnp.where(rank == r, bit, 0), axis=0) for r in range(4)]
    top = jnp.sum(jnp.where(rank == 0, jnp.arange(DIMENSION)[:, None], 0), axis=0)

    def key(extra: Array, row: Array, example: int) -> Array:
        flip = jnp.where(is_odd != bool(_IS_ODD[example]), 2 * least, 0)
        return _key(sum_of_all + extra - flip - _norm(example), row)

    keys, extra, mask = [], jnp.zeros_like(sum_of_all), jnp.zeros_like(sum_of_all)
    for count in range(5):
        keys.append(key(2 * extra, jnp.asarray(_ROW_3)[mask], int(_ROW_3[(1 << count) - 1])))
        if count < 4:
            extra, mask = extra + ordered[count], mask | bits[count]
    by_top = jnp.asarray(_ROW_5)
    keys.append(key(4 * ordered[0], by_top[top, 0], int(_ROW_5[0, 0])))
    second = key(4 * ordered[0] + 2 * ordered[1], by_top[top, bits[1]], int(_ROW_5[0, 2]))
    return [*keys, second]


def _other_key(magnitudes: Units, is_odd: Bool[Array, " n"]) -> Int32[Array, " n"]:
    """Return the best key of the 29 rows of squared norm 12, whose sums are all odd."""
    costs = magnitudes[None] * jnp.asarray(_MAGNITUDES[_OTHERS])[:, :, None]
    flip = jnp.where(is_odd, 0, 2 * jnp.min(costs, axis=1))
    scores = jnp.sum(costs, axis=1) - flip - _norm(int(_OTHERS[0]))
    return jnp.max(_key(scores, jnp.asarray(_OTHERS)[:, None]), axis=0)


def quantize(x: Float32[Array, "*shape"], scheme: E8P) -> QuantizedTensor:
    """Return the codes of each stage and the scale of each row.

    Each stage is compiled separately: in one program XLA would compute the rounded inputs of a
    stage again for each of their uses.
    """
    vectors, scales = _normalized(x, scheme)
    fields = scheme.layout(x.shape)
    found = [search(vectors, scheme.stages[0])]
    for stage in scheme.stages[1:]:
        vectors = _left(vectors, found[-1], stage)
        found.append(search(vectors, stage))
    arrays = {
        field.name: _masked(codes, scales, field)
        for field, codes in zip(fields, found, strict=False)
    }
    arrays["scales"] = scales
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@partial(jax.jit, static_argnames="scheme")
def _normalized(
    x: Float32[Array, "*shape"], scheme: E8P
) -> tuple[Int32[Array, "8 n"], Float16[Array, "*rows"]]:
    """Return the vectors in units of 2^-12, row i holding coordinate i, and the scales."""
    rows = x.reshape(-1, x.shape[-1])
    scales = norm_scales(rows, over=math.sqrt(rows.shape[1]) * scheme.target_rms)
    normalized = divide(rows, scales.astype(jnp.float32)[:, None])
    units = jnp.pad(_to_units(normalized * 2.0**UNIT_BITS), ((0, 0), (0, -rows.shape[1] % 8)))
    return units.reshape(-1, DIMENSION).T, scales.reshape(x.shape[:-1])


@partial(jax.jit, static_argnames="field")
def _masked(codes: Int32[Array, " n"], scales: Float16[Array, "*rows"], field: Field) -> Array:
    """Return the codes in the stored type and shape, zero in rows whose scale is NaN."""
    stored = codes.astype(field.dtype).reshape(field.shape)
    return jnp.where(jnp.isnan(scales)[..., None], jnp.zeros_like(stored), stored)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``(p_1 + (p_2 + ...) / r_2) * scale``."""
    scheme = q.scheme
    assert isinstance(scheme, E8P)
    names = [field.name for field in scheme.layout(q.shape) if field.is_index]
    stages = list(zip(names, scheme.stages, strict=True))
    values = _points(q.arrays[names[-1]], scheme.stages[-1])
    for (name, stage), (_, after) in zip(stages[-2::-1], stages[:0:-1], strict=True):
        values = _points(q.arrays[name], stage) + divide(values, RESIDUAL_SCALES[after])
    rows = values.reshape(*q.shape[:-1], -1)[..., : q.shape[-1]]
    scales = q.scales.astype(jnp.float32)[..., None]
    return jnp.where(jnp.isnan(scales), jnp.nan, multiply(rows, scales))


def _to_units(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Round to integers within the range of the search; NaN is zero."""
    clipped = jnp.clip(jnp.where(jnp.isnan(x), 0, x), -MAX_UNITS, MAX_UNITS)
    return jnp.round(clipped).astype(jnp.int32)


@partial(jax.jit, static_argnames="stage")
def search(units: Units, stage: Stage) -> Int32[Array, " n"]:
    """Return the code of the point of a stage nearest to each column."""
    return encode(units) if stage is Stage.E8P else _encode_e81b(units.T)


@partial(jax.jit, static_argnames="stage")
def _left(units: Units, codes: Int32[Array, " n"], stage: Stage) -> Units:
    """Return the residual of a stage, rounded to units as the input of the next stage."""
    left = units.astype(jnp.float32) - _points(codes, Stage.E8P).T * 2.0**UNIT_BITS
    return _to_units(left * np.float32(RESIDUAL_SCALES[stage]))


def _encode_e81b(vectors: Int32[Array, "n 8"]) -> Int32[Array, " n"]:
    """Return the nearest points' codes: the first with the largest ``2 x . p - |p|**2``."""
    doubled = e8p.e81b_points()
    norms = (doubled**2).sum(axis=1) << (UNIT_BITS - 2)
    return best_index(vectors, jnp.asarray(doubled), jnp.asarray(norms))


def _points(codes: Shaped[Array, "*vectors"], stage: Stage) -> Float32[Array, "*vectors 8"]:
    """Return the points that the codes of a stage stand for."""
    table = e8p.points() if stage is Stage.E8P else 2 * e8p.e81b_points()
    quarters = jnp.asarray(table.astype(np.int8))[codes.astype(jnp.int32)]
    return quarters.astype(jnp.float32) * 0.25
