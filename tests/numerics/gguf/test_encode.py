"""The quantizers against ``gguf.quants``, byte for byte."""

import numpy as np
import pytest

from numerics.gguf.block_types import BLOCK_TYPES, ENCODABLE
from numerics.gguf.reference import encode_block


@pytest.mark.parametrize("name", ENCODABLE)
def test_scalar_bytes_are_those_of_gguf(name, inputs):
    block_type = BLOCK_TYPES[name]
    x = inputs.rows()
    x = np.concatenate([x[:29], x[29::7]])
    blocks = x.reshape(-1, block_type.values)
    ours = b"".join(encode_block(block_type, block.tolist()) for block in blocks)
    expected = inputs.foreign_bytes(name, x).reshape(len(blocks), -1)
    found = np.frombuffer(ours, np.uint8).reshape(expected.shape)
    wrong = np.flatnonzero((found != expected).any(axis=1))
    assert wrong.size == 0, (wrong, blocks[wrong[:1]], found[wrong[:1]], expected[wrong[:1]])
