"""Inputs of the GGUF quantizers, and the results of the ``gguf`` package for them."""

import gguf
import numpy as np

from numerics.gguf.block_types import BLOCK_TYPES

WIDTH = 512


def foreign(name: str) -> gguf.GGMLQuantizationType:
    return gguf.GGMLQuantizationType[name.removesuffix("-gguf").upper()]


def foreign_values(name: str, raw: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.dequantize(raw, foreign(name))


def foreign_bytes(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quantize(x, foreign(name))


def raw_blocks(name: str, count: int = 24) -> np.ndarray:
    """Return random blocks, then blocks that repeat one byte; some scales are infinite or NaN."""
    block_type = BLOCK_TYPES[name]
    rng = np.random.default_rng(block_type.size)
    raw = rng.integers(0, 256, (count, block_type.size), np.uint8)
    raw[-6:] = np.uint8([0x00, 0xFF, 0x80, 0x7C, 0x01, 0xFC])[:, None]
    return raw


def rows() -> np.ndarray:
    """Return rows of finite numbers: zeros, or rows whose scale d has a normal reciprocal."""
    rng = np.random.default_rng(5)
    normal = rng.standard_normal((6, WIDTH))
    found = [
        normal,
        normal * 2.0 ** rng.integers(-30, 30, (6, 1)),
        normal * 2.0 ** rng.integers(-20, 20, (6, WIDTH)),
        normal[:3] * np.array([[1e6], [1e-7], [1e30]]),
        rng.integers(-8, 9, (4, WIDTH)) / 2,
        rng.integers(-1, 2, (2, WIDTH)) * 0.75,
        np.where(np.arange(WIDTH) % 96 < 64, 0.0, normal[:1]),
        np.full((1, WIDTH), -3.0),
        np.abs(normal[:1]) + 5,
        np.zeros((1, WIDTH)),
        halves(rng),
        below_powers(rng),
    ]
    return np.concatenate(found).astype(np.float32)


def halves(rng: np.random.Generator) -> np.ndarray:
    """Return values halfway between codes for a scale d that is a power of two."""
    sets = []
    for largest in (-8, -16, 127, 1, 6):
        x = (rng.integers(-2 * abs(largest), 2 * abs(largest), (2, WIDTH)) + 0.5) / 2
        x[:, ::32] = largest
        sets.append(x * 2.0 ** rng.integers(-4, 4, (2, 1)))
    return np.concatenate(sets)


def below_powers(rng: np.random.Generator) -> np.ndarray:
    """Return blocks whose amax is up to 47 units in the last place below a power of two."""
    exponents = np.repeat(np.float32([-100, -60, -17, -9, -3, -1, 0, 1, 2, 3, 5, 8, 40, 100]), 48)
    below = np.exp2(exponents).view(np.int32) - np.tile(np.arange(48), 14)
    amax = below.astype(np.int32).view(np.float32)
    x = rng.uniform(-1, 1, (amax.size, 32)) * amax[:, None]
    x[:, 7] = amax
    return x.reshape(-1, WIDTH)


def specials() -> np.ndarray:
    """Return rows with NaN, infinities, numbers near overflow, and subnormal numbers."""
    rng = np.random.default_rng(6)
    normal = rng.standard_normal((11, WIDTH)).astype(np.float32)
    x = (
        normal
        * np.float32([1, 1, 1, 1, 2.0**-127, 2.0**-140, 2.0**-124, 2.0**-121, 1, 1, 1])[:, None]
    )
    x[0, 3], x[1, 40], x[2, 300], x[3, :2] = np.nan, np.inf, -np.inf, (np.nan, -np.inf)
    x[8, ::7], x[8, 1::7] = np.finfo(np.float32).max, -np.finfo(np.float32).max
    x[9] *= 2.0**125
    x[10] = -0.0
    x[10, 64:128] = 0.0
    return x
