"""The reference for tests of the array code: one block at a time, as ggml's definitions read."""

import math
import struct
from collections.abc import Sequence

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.gguf.block_type import BlockType, Factors, Rule
from numerics.gguf.search_reference import encode_super_block

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
#: Exponent bias of ``d`` under Rule.POWER, ``2**(byte - 128)``.
E8M0_HALF_BIAS = 128
#: FP16 NaN without sign and payload.
QUIET_NAN = 0x7E00


def decode_block(block_type: BlockType, block: bytes) -> list[float]:
    """Return the values of a block.

    All products are exact in float32; only the addition of m rounds.

    >>> from numerics.gguf.block_types import BLOCK_TYPES
    >>> block = bytes.fromhex("003c") + bytes([0x98]) + bytes([0x88] * 15)
    >>> decode_block(BLOCK_TYPES["q4_0"], block)[16]
    1.0
    """
    d, m = _read_d(block_type, block), _read_m(block_type, block)
    per_d, per_m = _factors(block_type.d_factors, block), _factors(block_type.m_factors, block)
    values = []
    for index in range(block_type.values):
        code = sum(part.read(block, index) for part in block_type.codes)
        value = d * per_d[index * len(per_d) // block_type.values] * block_type.levels[code]
        if m is not None:
            value += m * per_m[index * len(per_m) // block_type.values]
        values.append(_to_float32(value))
    return values


def _read_d(block_type: BlockType, block: bytes) -> float:
    if block_type.rule is Rule.POWER:
        return 2.0 ** (block[block_type.d_at] - E8M0_HALF_BIAS)
    return _read_half(block, block_type.d_at)


def _read_m(block_type: BlockType, block: bytes) -> float | None:
    if block_type.m_at is None:
        return None
    m = _read_half(block, block_type.m_at)
    return m if block_type.m_factors is None else -m


def _read_half(block: bytes, offset: int) -> float:
    value: float = struct.unpack_from("<e", block, offset)[0]
    return value


def _factors(factors: Factors | None, block: bytes) -> list[int]:
    if factors is None:
        return [1]
    numbers = (sum(p.read(block, i) for p in factors.planes) for i in range(factors.count))
    return [factors.value(number) for number in numbers]


def _to_float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def encode_block(block_type: BlockType, values: Sequence[float]) -> bytes:
    """Return the bytes of a block of float32 values.

    An infinite or subnormal 1 / d counts as 0, as do negative exponents of ``Rule.POWER``: there
    ggml's conversions to integers are undefined or d overflows FP16. A block with a value, or a d,
    that is not finite has codes 0 and NaN for d and m; under ``Rule.POWER``, which has no NaN, all
    its values are infinite.

    >>> from numerics.gguf.block_types import BLOCK_TYPES
    >>> encode_block(BLOCK_TYPES["q4_0"], [-8.0, 1.0] + [0.0] * 14 + [7.0] + [0.0] * 15).hex()
    '003cf0898888888888888888888888888888'
    """
    x = np.array(values, np.float32)
    block = bytearray(block_type.size)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        if block_type.rule.is_search:
            codes, heads, *factors = encode_super_block(block_type, x)
            _write_factors(block_type.d_factors, factors[0], block)
            _write_factors(block_type.m_factors, factors[1], block)
        else:
            codes, heads = ENCODERS[block_type.rule](block_type, x)
    for part in block_type.codes:
        part.write(block, codes)
    if block_type.rule is Rule.POWER:
        block[block_type.d_at] = int(heads[0])
        return bytes(block)
    places = [block_type.d_at] if block_type.m_at is None else [block_type.d_at, block_type.m_at]
    for place, head in zip(places, heads, strict=True):
        block[place : place + 2] = _half(head).tobytes()
    return bytes(block)


def _write_factors(factors: Factors | None, values: Sequence[int], block: bytearray) -> None:
    if factors is not None:
        numbers = [(value + factors.minus) ^ factors.flip for value in values]
        for plane in factors.planes:
            plane.write(block, numbers)


#: Codes, d and m of a block.
Encoded = tuple[list[int], list[np.float32]]


def _extreme(block_type: BlockType, x: np.ndarray) -> Encoded:
    lowest = np.float32(block_type.levels[0])
    d = x[np.argmax(np.abs(x))] / lowest
    if not np.isfinite(x).all():
        return [0] * x.size, [np.float32(np.nan)]
    last = len(block_type.levels) - 1
    codes = [min(int(v * _reciprocal(d) + (HALF - lowest)), last) for v in x]
    return codes, [d]


def _range(block_type: BlockType, x: np.ndarray) -> Encoded:
    last = len(block_type.levels) - 1
    # The first of equal values, as in ggml's loop; zeros may differ in sign.
    low, high = x[np.argmin(x)], x[np.argmax(x)]
    d = (high - low) / np.float32(last)
    if not np.isfinite(d):
        return [0] * x.size, [np.float32(np.nan), np.float32(np.nan)]
    codes = [min(int(v * _reciprocal(d) + HALF), last) for v in x - low]
    return codes, [d, low]


def _absmax(block_type: BlockType, x: np.ndarray) -> Encoded:
    d = np.abs(x).max() / np.float32(block_type.largest)
    if not np.isfinite(d):
        return [0] * x.size, [np.float32(np.nan)]
    codes = [block_type.levels.index(_half_away(v * _reciprocal(d))) for v in x]
    return codes, [d]


def _power(block_type: BlockType, x: np.ndarray) -> Encoded:
    amax = float(np.abs(x).max())
    if not np.isfinite(x).all():
        return [block_type.levels.index(max(block_type.levels))] * x.size, [np.float32(255)]
    exponent = 0
    if amax > 0:
        # log2 in float64, rounded to float32: just below a power of two it rounds to an integer.
        exponent = max(math.floor(np.float32(math.log2(amax))) - 2 + 127, 0)
    d = 2.0 ** (exponent - E8M0_HALF_BIAS)
    errors = [[abs(level * d - float(v)) for level in block_type.levels] for v in x]
    return [error.index(min(error)) for error in errors], [np.float32(exponent)]


ENCODERS = {
    Rule.EXTREME: _extreme,
    Rule.RANGE: _range,
    Rule.ABSMAX: _absmax,
    Rule.POWER: _power,
}


def _reciprocal(d: np.float32) -> np.float32:
    with np.errstate(divide="ignore", over="ignore"):
        inverse = ONE / d
    return inverse if MIN_NORMAL <= abs(inverse) < np.inf else ZERO


def _half_away(x: np.float32) -> int:
    """Round to the nearest integer, ties away from zero."""
    return int(math.copysign(math.floor(abs(float(x)) + 0.5), x))


def _half(x: np.float32) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = QUIET_NAN if np.isnan(x) else x.astype("<f2").view("<u2")
    return np.array(bits, "<u2")
