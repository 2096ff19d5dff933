"""The searches of the K types and of IQ4 one group at a time, as ggml's C code reads.

The reference for tests of ``searches`` and ``super_blocks``. All numbers are float32 and every
operation rounds. A group is divided by a power of two before it is searched.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from numerics.arithmetic.float32 import MANTISSA_MASK, MIN_NORMAL
from numerics.gguf.block_type import BlockType, Rule
from numerics.gguf.searches import LEVEL_STEPS, PASSES, STEP, SYMMETRIC_STEPS
from numerics.gguf.super_blocks import LEAST_MAGNITUDE, NEAREST_MAGIC, NEAREST_OFFSET

F = np.float32
ZERO, ONE = F(0), F(1)


class Group(NamedTuple):
    """The scale of a group, its codes and its subtracted minimum."""

    scale: np.float32
    codes: list[int]
    minimum: np.float32 = ZERO


class Block(NamedTuple):
    """Codes, d and m before rounding to FP16, and their factors."""

    codes: list[int]
    heads: list[np.float32]
    d_factors: list[int]
    m_factors: list[int]


def encode_super_block(kind: BlockType, x: np.ndarray) -> Block:
    """Return the numbers of a block of float32 values."""
    groups = x.reshape(kind.groups, -1)
    if not np.isfinite(x).all():
        none = [0] * kind.groups
        heads = [F(np.nan)] * (1 if kind.m_at is None else 2)
        return Block([0] * x.size, heads, none, none)
    if kind.rule is Rule.LEVELS:
        return _levels(kind, groups)
    if kind.rule in (Rule.SYMMETRIC, Rule.REFINED):
        return _symmetric(kind, groups)
    return _affine(kind, groups)


def exponent(x: np.ndarray) -> int:
    """Return the exponent of the largest magnitude; -127 for subnormal numbers and zeros."""
    largest = float(np.abs(x).max())
    return max(math.frexp(largest)[1] - 1, -127) if largest else -127


def scaled(x: np.ndarray) -> np.ndarray:
    """Return a group divided by the power of two of its exponent."""
    divided: np.ndarray = np.ldexp(x, -exponent(x)).astype(np.float32)
    return divided


def unscaled(number: np.float32, x: np.ndarray) -> np.float32:
    """Return a result for the scaled group in units of the original; subnormal results are 0."""
    original = F(np.ldexp(number, exponent(x)))
    return original if abs(original) >= MIN_NORMAL else ZERO


def nearest(x: np.float32) -> int:
    """Return ggml's ``nearest_int``: half to even below 2^22, 0 for a NaN."""
    bits = ((ZERO if np.isnan(x) else x) + NEAREST_MAGIC).view(np.int32)
    return int(bits & MANTISSA_MASK) - NEAREST_OFFSET


def clip(number: int, low: int, high: int) -> int:
    """Return the number, at least ``low`` and at most ``high``."""
    return max(low, min(high, number))


def half(x: np.float32) -> np.float32:
    """Round to FP16."""
    return x.astype(np.float16).astype(np.float32)


def _affine(kind: BlockType, groups: np.ndarray) -> Block:
    assert kind.d_factors is not None
    found = [_search_affine(kind, scaled(x)) for x in groups]
    last, largest = len(kind.levels) - 1, kind.d_factors.range[1]
    pairs = list(zip(found, groups, strict=True))
    d, d_factors = _shared([unscaled(group.scale, x) for group, x in pairs], largest)
    m, m_factors = _shared([unscaled(group.minimum, x) for group, x in pairs], largest)
    codes: list[int] = []
    for x, group, d_factor, m_factor in zip(groups, found, d_factors, m_factors, strict=True):
        step, least = half(d) * F(d_factor), half(m) * F(m_factor)
        chosen = [clip(nearest((v + least) / step), 0, last) for v in x] if step else group.codes
        codes += chosen
    return Block(codes, [d, m], d_factors, m_factors)


def _shared(scales: Sequence[np.float32], largest: int) -> tuple[np.float32, list[int]]:
    top = max(ZERO, *scales)
    inverse = F(largest) / top if top > 0 else ZERO
    return top / F(largest), [min(nearest(inverse * s) & 0xFF, largest) for s in scales]


def _search_affine(kind: BlockType, x: np.ndarray) -> Group:
    """Return an affine fit: ggml's ``make_qkx2_quants``."""
    assert kind.candidates is not None
    first, steps = kind.candidates
    last, by_square = len(kind.levels) - 1, kind.rule is Rule.AFFINE_SQUARE
    weights = _weights(x) if by_square else [abs(v) for v in x]
    low, high = min(ZERO, x.min()), x.max()
    sum_w, sum_x = _sum(weights), _sum(w * v for w, v in zip(weights, x, strict=True))
    if low == high:
        return Group(ZERO, [0] * x.size, -low)

    def codes_with(inverse: np.float32, low: np.float32) -> list[int]:
        return [clip(nearest(inverse * (v - low)), 0, last) for v in x]

    def error(codes: list[int], scale: np.float32, least: np.float32) -> np.float32:
        differences = [scale * F(c) + least - v for c, v in zip(codes, x, strict=True)]
        powers = [e * e if by_square else abs(e) for e in differences]
        return _sum(w * p for w, p in zip(weights, powers, strict=True))

    inverse = F(last) / (high - low)
    scale, least, codes = ONE / inverse, low, codes_with(inverse, low)
    best = error(codes, scale, least)
    for n in range(steps + 1):
        inverse = (F(first) + STEP * F(n) + F(last)) / (high - least)
        tried = codes_with(inverse, least)
        weighted = [w * F(c) for w, c in zip(weights, tried, strict=True)]
        sum_l = _sum(weighted)
        sum_l2 = _sum(w * F(c) for w, c in zip(weighted, tried, strict=True))
        sum_xl = _sum(w * v for w, v in zip(weighted, x, strict=True))
        determinant = sum_w * sum_l2 - sum_l * sum_l
        if not determinant > 0:
            continue
        new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        new_least = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        if new_least > 0:
            new_scale, new_least = sum_xl / sum_l2, ZERO
        new_error = error(tried, new_scale, new_least)
        if new_error < best:
            best, scale, least, codes = new_error, new_scale, new_least, tried
    return Group(scale, codes, -least)


def _weights(x: np.ndarray) -> list[np.float32]:
    mean = np.sqrt(_sum(v * v for v in x) / F(x.size))
    return [mean + abs(v) for v in x]


def _sum(numbers: Iterable[np.float32]) -> np.float32:
    total = ZERO
    for number in numbers:
        total = total + number
    return total


def _symmetric(kind: BlockType, groups: np.ndarray) -> Block:
    assert kind.d_factors is not None
    search = _search_refined if kind.rule is Rule.REFINED else _search_symmetric
    lowest = kind.levels[0]
    found = [search(scaled(x), -lowest) if _is_large(x) else _none(x) for x in groups]
    scales = [unscaled(group.scale, x) for group, x in zip(found, groups, strict=True)]
    extreme = max(scales, key=abs)
    low, high = kind.d_factors.range
    is_zero = extreme == 0 if kind.rule is Rule.REFINED else abs(extreme) < LEAST_MAGNITUDE
    if is_zero:
        kept = [code for group in found for code in group.codes]
        codes = kept if kind.rule is Rule.REFINED else [0] * groups.size
        return Block(codes, [ZERO], [kind.d_factors.value(0)] * len(groups), [])
    inverse = F(low) / extreme
    d, factors = ONE / inverse, [clip(nearest(inverse * s), low, high) for s in scales]
    codes = []
    for x, group, factor in zip(groups, found, factors, strict=True):
        step = half(d) * F(factor)
        chosen = [clip(nearest(v / step), lowest, -lowest - 1) - lowest for v in x] if step else []
        codes += chosen or group.codes
    return Block(codes, [d], factors, [])


def _is_large(x: np.ndarray) -> bool:
    return bool(np.abs(x).max() >= LEAST_MAGNITUDE)


def _none(x: np.ndarray) -> Group:
    return Group(ZERO, [0] * x.size)


def _search_symmetric(x: np.ndarray, nmax: int) -> Group:
    """Return a symmetric fit: ggml's ``make_qx_quants`` with weights ``x * x``."""
    extreme = x[np.argmax(np.abs(x))]
    best = None
    offsets = [0, *(n for n in range(-SYMMETRIC_STEPS, SYMMETRIC_STEPS + 1) if n)]
    for offset in offsets:
        inverse = -(F(nmax) + STEP * F(offset)) / extreme
        levels = [clip(nearest(inverse * v), -nmax, nmax - 1) for v in x]
        best = _better(best, x, levels, [level + nmax for level in levels])
    assert best is not None
    return best.group


class _Best(NamedTuple):
    group: Group
    score: np.float32


def _better(best: _Best | None, x: np.ndarray, levels: Sequence[int], codes: list[int]) -> _Best:
    """Return the least-squares fit of these levels if it is the first or better than the best."""
    sum_lx = _sum(v * v * v * F(level) for v, level in zip(x, levels, strict=True))
    sum_l2 = _sum(v * v * F(level) * F(level) for v, level in zip(x, levels, strict=True))
    if best is not None and not (sum_l2 > 0 and sum_lx * sum_lx > best.score * sum_l2):
        return best
    scale = sum_lx / sum_l2 if sum_l2 > 0 else ZERO
    return _Best(Group(scale, codes), scale * sum_lx)


def _search_refined(x: np.ndarray, nmax: int) -> Group:
    """Return a symmetric fit, refined: ggml's ``make_q3_quants``."""
    inverse = F(-nmax) / x[np.argmax(np.abs(x))]
    levels = [clip(nearest(inverse * v), -nmax, nmax - 1) for v in x]
    sum_lx = _sum(v * v * v * F(level) for v, level in zip(x, levels, strict=True))
    sum_l2 = _sum(v * v * F(level) * F(level) for v, level in zip(x, levels, strict=True))
    for _ in range(PASSES):
        for i, v in enumerate(x):
            other_lx = sum_lx - v * v * v * F(levels[i])
            if not other_lx > 0:
                continue
            other_l2 = sum_l2 - v * v * F(levels[i]) * F(levels[i])
            new = clip(nearest(v * other_l2 / other_lx), -nmax, nmax - 1)
            new_lx = other_lx + v * v * v * F(new)
            new_l2 = other_l2 + v * v * F(new) * F(new)
            is_better = new_l2 > 0 and new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2
            if new != levels[i] and is_better:
                levels[i], sum_lx, sum_l2 = new, new_lx, new_l2
    scale = sum_lx / sum_l2 if sum_l2 > 0 else ZERO
    return Group(scale, [level + nmax for level in levels])


def _levels(kind: BlockType, groups: np.ndarray) -> Block:
    found = [_search_levels(kind, scaled(x)) if _is_large(x) else ZERO for x in groups]
    scales = [unscaled(scale, x) for scale, x in zip(found, groups, strict=True)]
    if kind.d_factors is None:
        return Block(_level_codes(kind, groups[0], scales[0]), [scales[0]], [], [])
    low, high = kind.d_factors.range
    d = max(scales, key=abs) / F(low)
    inverse = ONE / d if d else ZERO
    factors = [clip(nearest(inverse * scale), low, high) for scale in scales]
    codes: list[int] = []
    for x, factor in zip(groups, factors, strict=True):
        codes += _level_codes(kind, x, d * F(factor))
    return Block(codes, [d], factors, [])


def _level_codes(kind: BlockType, x: np.ndarray, step: np.float32) -> list[int]:
    inverse = ONE / step if step else ZERO
    return [_level_code(kind, inverse * v) for v in x]


def _level_code(kind: BlockType, x: np.float32) -> int:
    return sum(bool(x >= F((low + high) / 2)) for low, high in pairwise(kind.levels))


def _search_levels(kind: BlockType, x: np.ndarray) -> np.float32:
    """Return the scale of a fit of given levels: ggml's ``quantize_row_iq4_nl_impl``."""
    extreme, lowest = x[np.argmax(np.abs(x))], F(kind.levels[0])
    first = ONE / (-extreme / lowest)
    best = None
    for inverse in (
        first,
        *((F(n) + lowest) / extreme for n in range(-LEVEL_STEPS, LEVEL_STEPS + 1)),
    ):
        codes = [_level_code(kind, inverse * v) for v in x]
        best = _better_level(best, x, [kind.levels[code] for code in codes])
    assert best is not None
    return best.group.scale


def _better_level(best: _Best | None, x: np.ndarray, levels: Sequence[int]) -> _Best:
    """Return the better fit; ggml multiplies a weight by the level first, then by the value."""
    sum_lx = _sum(v * v * F(level) * v for v, level in zip(x, levels, strict=True))
    sum_l2 = _sum(v * v * F(level) * F(level) for v, level in zip(x, levels, strict=True))
    if best is not None and not (sum_l2 > 0 and sum_lx * sum_lx > best.score * sum_l2):
        return best
    scale = sum_lx / sum_l2 if sum_l2 > 0 else ZERO
    return _Best(Group(scale, []), scale * sum_lx)
