"""Every GGUF block type against ggml's C library, frozen by ``tests/golden/numerics``."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.gguf.block_types import BLOCK_TYPES, ENCODABLE
from numerics.gguf.decoding import decode
from numerics.gguf.entries import ENTRIES
from numerics.gguf.reference import decode_block, encode_block


@pytest.fixture(scope="module")
def ggml() -> dict[str, np.ndarray]:
    path = Path(__file__).parents[2] / "golden" / "numerics" / "ggml.npz"
    with np.load(path, allow_pickle=False) as stored:
        return {name.lower(): array for name, array in stored.items()}


def bits(x) -> np.ndarray:
    """Float32 bits, those of a quiet NaN for any NaN."""
    x = np.float32(x)
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.int32)


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_values_of_bytes_are_those_of_the_library(ggml, name):
    block_type, key = BLOCK_TYPES[name], name.removesuffix("-gguf")
    raw, values = ggml[f"{key}/raw"], ggml[f"{key}/values"]
    assert raw.shape[1] == block_type.size and np.isfinite(values).sum() > 500
    found = np.asarray(decode(block_type, jnp.asarray(raw))).reshape(-1)
    assert np.array_equal(bits(found), bits(values))
    scalar = np.concatenate([decode_block(block_type, bytes(block)) for block in raw])
    assert np.array_equal(bits(scalar), bits(values))


@pytest.mark.parametrize("name", ENCODABLE)
def test_bytes_of_numbers_are_those_of_the_library(ggml, name):
    x, made = ggml["x"], ggml[f"{name.removesuffix('-gguf')}/bytes"]
    q = quantize(x, ENTRIES[name][0])
    assert np.array_equal(np.asarray(q.arrays["blocks"]), made)
    block_type = BLOCK_TYPES[name]
    blocks = x[::5].reshape(-1, block_type.values).tolist()
    scalar = b"".join(encode_block(block_type, block) for block in blocks)
    assert scalar == made[::5].tobytes()
