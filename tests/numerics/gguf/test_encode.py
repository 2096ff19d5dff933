"""The quantizers against ``gguf.quants`` and their scalar definitions, byte for byte."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import gguf_inputs as inputs

from numerics import fake_quantize, quantize
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.entries import ENTRIES
from numerics.gguf.reference import decode_block, encode_block


def scalar_bytes(name: str, x: np.ndarray) -> np.ndarray:
    """Bytes of rows by the scalar definition."""
    block_type = BLOCK_TYPES[name]
    blocks = x.reshape(-1, block_type.values).tolist()
    found = b"".join(encode_block(block_type, block) for block in blocks)
    return np.frombuffer(found, np.uint8).reshape(len(x), -1)


def bits_of(x) -> np.ndarray:
    """Float32 bits, those of a quiet NaN for any NaN."""
    x = np.asarray(x)
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.int32)


#: Types that ``gguf.quants`` quantizes.
SIMPLE = tuple(name for name, kind in BLOCK_TYPES.items() if not kind.rule.is_search)
#: Types that share every line of code with two others.
BETWEEN = ("q4_1", "q5_0", "tq2_0")


@pytest.mark.parametrize("name", SIMPLE)
def test_scalar_bytes_are_those_of_gguf(name):
    x = inputs.rows()
    x = np.concatenate([x[:29:2], x[29::7]])
    assert np.array_equal(scalar_bytes(name, x), inputs.foreign_bytes(name, x))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in BETWEEN)) for n in SIMPLE]
)
def test_array_bytes_are_those_of_gguf_and_of_the_definition(name):
    scheme, x, strange = ENTRIES[name][0], inputs.rows(), inputs.specials()
    q = quantize(np.concatenate([x, strange]), scheme)
    found = np.asarray(q.arrays["blocks"])
    assert np.array_equal(found[: len(x)], inputs.foreign_bytes(name, x))
    assert np.array_equal(found[len(x) :], scalar_bytes(name, strange))
    blocks = found.reshape(-1, scheme.block_type.size)[-40:]
    values = [decode_block(scheme.block_type, bytes(block)) for block in blocks]
    restored = np.asarray(q.dequantize())
    decoded = restored.reshape(-1, scheme.group_size)[-40:]
    assert np.array_equal(bits_of(decoded), bits_of(np.float32(values)))
    rounded = fake_quantize(np.concatenate([x, strange]), scheme)
    assert np.array_equal(bits_of(rounded), bits_of(restored))
    # A NaN or an infinity poisons its block only.
    is_good = np.isfinite(strange[:4].reshape(4, -1, scheme.group_size)).all(axis=-1)
    found = np.isfinite(restored[len(x) : len(x) + 4])
    assert np.array_equal(found, np.repeat(is_good, scheme.group_size, axis=1))


#: Exponents of the least largest magnitude of a block for which ggml's conversions to integers are
#: defined.
LEAST = {
    "q4_0": -124,
    "q5_0": -123,
    "q4_1": -123,
    "q5_1": -122,
    "q8_0": -120,
    "tq1_0": -127,
    "tq2_0": -127,
    "mxfp4-gguf": -125,
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in BETWEEN)) for n in SIMPLE],
)
def test_blocks_of_subnormal_numbers_have_the_bytes_of_gguf(name):
    scheme, rng = ENTRIES[name][0], np.random.default_rng(12)
    size = scheme.group_size
    x = rng.uniform(-1, 1, (12, 512))
    x[4:] = np.round(x[4:] * 32) / 32
    x[:, ::size] = np.where(rng.integers(0, 2, (12, 512 // size)), 1, -1)
    powers = 2.0 ** (LEAST[name] + np.arange(12) % 6)[:, None]
    x = np.float32(x * powers)
    # Blocks of ordinary numbers and of zeros beside the subnormal ones.
    x[-1, size:], x[-2, :size] = 0.25, 0
    found = np.asarray(quantize(x, scheme).arrays["blocks"])
    assert np.array_equal(found, inputs.foreign_bytes(name, x))
    assert np.array_equal(found[::3], scalar_bytes(name, x[::3]))


@pytest.mark.parametrize("name", ["q4_0", "q5_1", "mxfp4-gguf"])
def test_the_same_inside_a_larger_program(name):
    scheme, factor = ENTRIES[name][0], np.float32(1.1)
    x = inputs.rows()[:24]

    @jax.jit
    def program(a, b):
        rounded = jax.vmap(scheme.fake_quantize)(a * b)
        return rounded, rounded + a

    found, _ = program(jnp.asarray(x), jnp.full(x.shape, factor))
    assert np.array_equal(bits_of(found), bits_of(fake_quantize(x * factor, scheme)))


def test_overflow_and_underflow_of_d():
    q4_0 = ENTRIES["q4_0"][0]
    large = np.zeros((1, 32), np.float32)
    large[0, 0] = 1e6
    assert np.isinf(np.asarray(fake_quantize(large, q4_0))[0, 0])
    small = quantize(np.full((1, 32), 1e-7, np.float32), q4_0)
    assert not np.asarray(small.dequantize()).any()
    assert np.asarray(small.arrays["blocks"])[0, 2:].tolist() == [0] * 16


def test_ties_of_mxfp4_go_towards_zero_and_its_logarithm_rounds_up():
    x = np.zeros((1, 32), np.float32)
    x[0, :6] = 4, 0.75, 1.75, 3.5, -0.25, -1.75
    values = np.asarray(fake_quantize(x, ENTRIES["mxfp4-gguf"][0]))[0, :6]
    assert values.tolist() == [4, 0.5, 1.5, 3, 0, -1.5]
    below = np.full((1, 32), np.nextafter(np.float32(8), np.float32(0)))
    blocks = quantize(below, ENTRIES["mxfp4-gguf"][0]).arrays["blocks"]
    assert np.asarray(blocks)[0, :2].tolist() == [3 - 2 + 127, 0x66]
