"""GGUF block types that coincide with schemes: ``gguf`` decodes our codes and encodes to them."""

import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme, quantize

ROWS, WIDTH, BLOCK = 8, 256, 32
Type = gguf.GGMLQuantizationType


def blocks(array) -> np.ndarray:
    """Rows cut into blocks of 32."""
    return np.asarray(array).reshape(-1, BLOCK)


def raw_bytes(array) -> np.ndarray:
    """Return the per-block values as bytes."""
    flat = np.ascontiguousarray(np.asarray(array)).reshape(-1, 1)
    return flat.view(np.uint8)


def nibbles(codes: np.ndarray) -> np.ndarray:
    """GGUF's order: the first half of a block in the low nibbles, the second in the high ones."""
    return codes[:, : BLOCK // 2] | codes[:, BLOCK // 2 :] << 4


def q8_0(q) -> np.ndarray:
    return np.hstack([raw_bytes(q.scales), blocks(q.codes)])


def q4_1(q) -> np.ndarray:
    return np.hstack([raw_bytes(q.scales), raw_bytes(q.minimums), nibbles(blocks(q.codes))])


def mxfp4(q) -> np.ndarray:
    return np.hstack([raw_bytes(q.scales), nibbles(blocks(q.codes))])


COINCIDING = [
    ("int8:g32:fp16", q8_0, Type.Q8_0),
    ("int4-floatmin", q4_1, Type.Q4_1),
    ("mxfp4", mxfp4, Type.MXFP4),
]


@pytest.mark.parametrize(("text", "serialize", "kind"), COINCIDING)
def test_gguf_decodes_our_codes_to_our_values(text, serialize, kind):
    x = np.random.default_rng(7).standard_normal((ROWS, WIDTH)).astype(np.float32)
    q = quantize(jnp.asarray(x), parse_scheme(text))
    decoded = gguf.dequantize(serialize(q).reshape(ROWS, -1), kind)
    assert np.array_equal(decoded, np.asarray(q.dequantize()))


def test_gguf_makes_the_same_q8_0_of_values_off_the_ties():
    # The scale is an FP16 number, so that it is the same before and after rounding.
    rng = np.random.default_rng(8)
    scale = rng.integers(1024, 2048, (ROWS * WIDTH // BLOCK, 1)) * 2.0**-16
    codes = rng.integers(-126, 127, (len(scale), BLOCK)) + rng.uniform(-0.4, 0.4, (len(scale), 32))
    codes[:, 5] = 127
    x = (codes * scale).astype(np.float32).reshape(ROWS, WIDTH)
    expected = gguf.quantize(x, Type.Q8_0).reshape(-1)
    assert np.array_equal(
        q8_0(quantize(jnp.asarray(x), parse_scheme("int8:g32"))).ravel(), expected
    )


def test_gguf_makes_the_same_q4_1_of_values_off_the_ties():
    rng = np.random.default_rng(9)
    scale = rng.integers(32, 64, (ROWS * WIDTH // BLOCK, 1)) * 2.0**-8
    low = -scale * rng.integers(0, 16, scale.shape)
    codes = rng.integers(1, 15, (len(scale), BLOCK)) + rng.uniform(-0.4, 0.4, (len(scale), BLOCK))
    codes[:, 3], codes[:, 9] = 0, 15
    x = (codes * scale + low).astype(np.float32).reshape(ROWS, WIDTH)
    expected = gguf.quantize(x, Type.Q4_1).reshape(-1)
    assert np.array_equal(
        q4_1(quantize(jnp.asarray(x), parse_scheme("int4-floatmin"))).ravel(), expected
    )


def test_gguf_makes_the_same_mxfp4_of_values_off_the_ties():
    # gguf rounds ties to zero, and its logarithm is wrong just below powers of two; x has neither.
    rng = np.random.default_rng(10)
    values = np.array([0.5, 1, 1.5, 2, 3, 4, 6])
    x = rng.choice(values, (ROWS, WIDTH)) * rng.uniform(0.95, 1.05, (ROWS, WIDTH))
    x = x * rng.choice([-1, 1], x.shape) * 2.0 ** rng.integers(-9, 9, (ROWS, 1))
    expected = gguf.quantize(x.astype(np.float32), Type.MXFP4).reshape(-1)
    ours = mxfp4(quantize(jnp.asarray(x, jnp.float32), parse_scheme("mxfp4"))).ravel()
    assert np.array_equal(ours, expected)
