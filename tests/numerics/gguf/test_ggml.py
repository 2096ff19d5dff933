"""GGUF block types against the C library of ggml, frozen by ``tests/golden/numerics``."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.decoding import decode
from numerics.gguf.entries import ENTRIES
from numerics.gguf.reference import encode_block
from numerics.gguf.unpacking import read_codes

#: Indices of the blocks whose values are frozen.
STEP = 5


@pytest.fixture(scope="module")
def ggml() -> dict[str, np.ndarray]:
    path = Path(__file__).parents[2] / "golden" / "numerics" / "ggml.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def of(ggml: dict[str, np.ndarray], name: str, field: str) -> np.ndarray:
    return ggml[f"{name.removesuffix('-gguf').upper().replace('_k', '_K')}/{field}"]


def bits_of(x) -> np.ndarray:
    """Float32 bits, those of a quiet NaN for any NaN."""
    x = np.asarray(x)
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.int32)


#: Types that have one quantizer in all implementations.
SIMPLE = tuple(name for name, kind in BLOCK_TYPES.items() if not kind.rule.is_search)
#: Types that share every line of code with two others.
BETWEEN = ("q4_1", "q5_0", "tq2_0")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in BETWEEN)) for n in SIMPLE],
)
def test_scales_and_codes_are_those_of_the_c_library(ggml, name):
    kind, theirs = BLOCK_TYPES[name], of(ggml, name, "blocks")
    ours = np.asarray(quantize(ggml["x"], ENTRIES[name][0]).arrays["blocks"])
    ours = ours.reshape(theirs.shape)
    size = 1 if name == "mxfp4-gguf" else 2
    for at in filter(lambda at: at is not None, (kind.d_at, kind.m_at)):
        assert np.array_equal(ours[:, at : at + size], theirs[:, at : at + size])
    codes = read_codes(kind, jnp.asarray(ours)), read_codes(kind, jnp.asarray(theirs))
    assert np.array_equal(*codes)
    # Blocks consist of d, m and codes only.
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", SIMPLE)
def test_the_definition_has_the_bytes_of_the_c_library(ggml, name):
    kind, theirs = BLOCK_TYPES[name], of(ggml, name, "blocks")
    blocks = ggml["x"].reshape(-1, kind.values)
    ours = [encode_block(kind, block.tolist()) for block in blocks[::STEP]]
    assert ours == [bytes(block) for block in theirs[::STEP]]


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_values_are_those_of_the_c_library(ggml, name):
    quantized, raw = of(ggml, name, "blocks")[::STEP], of(ggml, name, "random")
    blocks = jnp.asarray(np.concatenate([quantized, raw]))
    found = jax.jit(decode, static_argnums=0)(BLOCK_TYPES[name], blocks)
    wanted = np.concatenate([of(ggml, name, "values"), of(ggml, name, "random_values")])
    assert np.array_equal(bits_of(found), bits_of(wanted))


#: First values of blocks whose least value is zero or underflows, and whether ggml's m has a sign.
#: gguf.quants takes the sign of an unspecified zero.
LEAST_ZEROS = [
    ((-0.0, 0.0), True),
    ((0.0, -0.0), False),
    ((3.0, -0.0, 0.0), True),
    ((3.0, 0.0, -0.0), False),
    ((-1e-40, 0.0), True),
    ((0.0, -1e-40), True),
    ((0.0, -1e-9), True),
    ((-0.0,) * 32, True),
    ((0.0, -0.0) * 16, False),
]


@pytest.mark.parametrize("name", ["q4_1", "q5_1"])
def test_a_least_zero_has_the_sign_of_the_first_one(name):
    kind, x = BLOCK_TYPES[name], np.full((len(LEAST_ZEROS), 32), 5, np.float32)
    for row, (start, _) in zip(x, LEAST_ZEROS, strict=True):
        row[: len(start)] = start
    ours = np.asarray(quantize(x, ENTRIES[name][0]).arrays["blocks"])
    m = ours[:, kind.m_at : kind.m_at + 2].copy().view(np.uint16)[:, 0]
    assert m.tolist() == [0x8000 * is_negative for _, is_negative in LEAST_ZEROS]
    assert [bytes(row) for row in ours] == [encode_block(kind, row.tolist()) for row in x]
