"""Every GGUF block type against ``gguf.quants``: values of raw bytes."""

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import gguf_inputs as inputs

from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.decoding import decode
from numerics.gguf.reference import decode_block


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Compare bit by bit, whatever the bits of a NaN."""
    is_nan = np.isnan(expected)
    assert np.array_equal(np.isnan(actual), is_nan)
    bits = np.float32(actual).view(np.int32)
    assert np.array_equal(bits[~is_nan], np.float32(expected).view(np.int32)[~is_nan])


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_sizes_are_those_of_the_files(name):
    block_type = BLOCK_TYPES[name]
    assert (block_type.values, block_type.size) == gguf.GGML_QUANT_SIZES[inputs.foreign(name)]


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_scalar_values_of_random_bytes(name):
    raw = inputs.raw_blocks(name)
    ours = [decode_block(BLOCK_TYPES[name], bytes(block)) for block in raw]
    assert_same(np.float32(ours), inputs.foreign_values(name, raw))


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_array_values_of_random_bytes(name):
    raw = inputs.raw_blocks(name, 600)
    decoded = jax.jit(decode, static_argnums=0)(BLOCK_TYPES[name], jnp.asarray(raw))
    assert_same(np.asarray(decoded), inputs.foreign_values(name, raw))
