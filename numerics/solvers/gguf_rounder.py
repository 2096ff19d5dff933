"""The rounder of GGUF block types: scales and minimums of blocks are fitted, then stay fixed.

ggml's own search without an importance matrix gives the first fit. Its factors (or, in types
without factors, its FP16 scales) are then varied for the least squared error weighted by the
Hessian's diagonal. Codes and scales are written into blocks exactly.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32

from numerics.gguf.block_type import BlockType, Rule
from numerics.gguf.encoded import Encoded, round_to_half, to_blocks, to_values
from numerics.gguf.encoding import encode
from numerics.gguf.scheme import GgufScheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Importance, Matrix, Side, Spread, by_value
from numerics.solvers.table_rounder import TableRounder
from numerics.solvers.tables import Tables, group_errors

#: Differences of a factor of ``d`` and of a factor of the minimum that are tried together.
DIFFERENCES = (0, -1, 1, -2, 2, -3, 3)
#: Wider differences of factors of ``d``, for types without a minimum.
WIDE = (0, *(sign * n for n in (1, 2, 3, 4, 6, 8, 12) for sign in (-1, 1)))
#: Factors on FP16 scales and on ranges that are tried in types without factors.
FACTORS = (1.0, *(1 - i / 40 for i in range(1, 13)), *(1 + i / 40 for i in range(1, 7)))
#: Powers of two that the E8M0 of MXFP4 is multiplied by.
POWERS = (0, -1, 1)


@dataclass(frozen=True, slots=True)
class GgufRounder(TableRounder):
    """Rounding to the nearest of the values that a group of a block can store."""

    scheme: GgufScheme

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return d, m and the factors of blocks, without codes."""
        side: Side = _fit(weight, importance, self.scheme.block_type)
        return side

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return tables of groups and the group of each column."""
        kind = self.scheme.block_type
        tables = _tables(side, kind)
        return Spread(tables, jnp.arange(shape[1]) // (kind.values // kind.groups))

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the blocks of these codes and this side data."""
        kind = self.scheme.block_type
        in_blocks = by_value(codes, shape).reshape(shape[0], -1, kind.values)
        blocks = to_blocks(kind, side._replace(codes=in_blocks)).reshape(shape[0], -1)
        return QuantizedTensor(arrays={"blocks": blocks}, scheme=self.scheme, shape=shape)


@partial(jax.jit, static_argnames="kind")
def _fit(weight: Matrix, importance: Importance | None, kind: BlockType) -> Encoded:
    found = encode(kind, weight.reshape(len(weight), -1, kind.values))
    side = _rounded(found._replace(codes=jnp.zeros((*found.codes.shape[:-1], 0), jnp.uint8)), kind)
    return side if importance is None else _searched(weight, importance, side, kind)


def _rounded(side: Encoded, kind: BlockType) -> Encoded:
    """Return side data with d and m rounded to the FP16 that blocks store."""
    if kind.rule is Rule.POWER:
        return side
    return side._replace(
        d=round_to_half(side.d), m=None if side.m is None else round_to_half(side.m)
    )


def _tables(side: Encoded, kind: BlockType) -> Tables:
    """Return the value of each code in each group of blocks."""
    groups, count = kind.groups, len(kind.levels)
    size = kind.values // groups
    parts = []
    for first in range(0, count, size):
        codes = np.minimum(first + np.arange(size), count - 1).astype(np.uint8)
        tiled = np.tile(codes, groups)
        shape = (*side.d.shape, kind.values)
        values = to_values(kind, side._replace(codes=jnp.broadcast_to(tiled, shape)))
        parts.append(values.reshape(side.d.shape[0], -1, size))
    tables = jnp.concatenate(parts, axis=2)[..., :count].transpose(1, 2, 0)
    if kind.rule is not Rule.ABSMAX:
        return tables
    # Programs that read these types expect magnitudes up to ``largest``: no -128 and no trit 2.
    is_used = np.abs(np.array(kind.levels)) <= kind.largest
    return jnp.where(is_used[:, None], tables, jnp.nan)


def _searched(weight: Matrix, importance: Importance, side: Encoded, kind: BlockType) -> Encoded:
    """Return the side data of least weighted error among variations of the given ones."""
    size = kind.values // kind.groups

    def errors_of(tried: Encoded) -> Float32[Array, "rows blocks groups"]:
        errors = group_errors(weight, importance, _tables(tried, kind), size)
        by_block = jnp.where(jnp.isnan(errors), jnp.inf, errors).T
        return by_block.reshape(*side.d.shape, kind.groups)

    variations = jnp.asarray(_variations(kind), jnp.float32)

    def attempt(best: tuple[Encoded, Array], variation: Array) -> tuple[Any, None]:
        tried = _varied(side, variation, kind)
        errors = errors_of(tried)
        is_better = errors < best[1]
        return (_chosen(is_better, tried, best[0]), jnp.where(is_better, errors, best[1])), None

    (found, _), _ = lax.scan(attempt, (side, errors_of(side)), variations[1:])
    result: Encoded = found
    return result


def _variations(kind: BlockType) -> list[tuple[float, float]]:
    """Return pairs of changes, of the scale and of the minimum; the first changes nothing."""
    if kind.rule is Rule.POWER:
        return [(power, 0.0) for power in POWERS]
    if kind.d_factors is None:
        others = FACTORS[:7] if kind.m_at is not None else (1.0,)
        return [(first, second) for first in FACTORS for second in others]
    others = DIFFERENCES if kind.m_factors is not None else (0,)
    firsts = DIFFERENCES if kind.m_factors is not None else WIDE
    return [(first, second) for first in firsts for second in others]


def _varied(side: Encoded, variation: Array, kind: BlockType) -> Encoded:
    first, second = variation
    if kind.rule is Rule.POWER:
        moved = side.d.astype(jnp.int32) + first.astype(jnp.int32)
        is_number = (side.d > 0) & (side.d < 254)
        return side._replace(d=jnp.where(is_number, moved, side.d).astype(jnp.uint8))
    if kind.d_factors is None:
        m = side.m
        if m is not None:
            # The range shrinks by ``first`` around a point between its ends.
            steps = np.float32(len(kind.levels) - 1)
            lost = side.d * steps * (1 - first)
            m = round_to_half(m + lost * (second - 0.85) / 0.3)
        return side._replace(d=round_to_half(side.d * first), m=m)
    low, high = kind.d_factors.range
    assert side.d_factors is not None
    changed = side._replace(d_factors=jnp.clip(side.d_factors + first, low, high))
    if kind.m_factors is None:
        return changed
    assert side.m_factors is not None
    low, high = kind.m_factors.range
    return changed._replace(m_factors=jnp.clip(side.m_factors + second, low, high))


def _chosen(is_better: Array, tried: Encoded, best: Encoded) -> Encoded:
    """Return the better numbers of each group, or of each block where it has one group."""

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(is_better if new.ndim == is_better.ndim else is_better[..., 0], new, old)

    # A block with factors keeps its d and m: they are shared by groups that choose separately.
    names = ("d", "m") if tried.d_factors is None else ("d_factors", "m_factors")
    pairs = {name: (getattr(tried, name), getattr(best, name)) for name in names}
    varied = {name: choose(*pair) for name, pair in pairs.items() if pair[0] is not None}
    return Encoded(**{**best._asdict(), **varied})
