"""Quantization of tensors against the independent reference in ``gold.py``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import CATALOG, fake_quantize, parse_scheme, quantize

TEXTS = (
    "int8:channel",
    "int8:token:fp32",
    "int4:tensor:bf16",
    "int4:g7:fp32",
    "int8:asym:token:fp32",
    "int4:asym:g64:bf16",
    "int4_full:g128:fp16",
    "int8:floatmin:g32:fp32",
    "int3:floatmin:g40:bf16",
    "int8:g32:e8m0",
    "int4:g64:e8m0:rceil",
    "fp8_e4m3:tensor:fp32",
    "fp8_e5m2:token:bf16",
    "fp4:g16:e4m3",
    "fp4:g48:e4m3:two-level",
    "int4:g16:e4m3:two-level",
    "nf4:g128:fp16",
    "ternary:channel:fp32",
    "ternary:absmax",
)
#: Widths that share every line of code with their neighbours.
IN_BETWEEN = {f"int{n}{suffix}" for n in (3, 5, 6, 7) for suffix in ("", "-asym")}
SCHEMES = [
    pytest.param(text, marks=[pytest.mark.slow] * (text in IN_BETWEEN))
    for text in (*CATALOG, *TEXTS)
]


def bits(x) -> np.ndarray:
    x = np.asarray(x)
    return x.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[x.dtype.itemsize])


def same_bits(x, y) -> bool:
    return np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(bits(x), bits(y))


@pytest.fixture(scope="session")
def blocks(gold):
    return gold.block_sets()


@pytest.mark.parametrize("text", SCHEMES)
def test_scales_codes_and_values_equal_the_reference(text, gold, blocks):
    scheme = parse_scheme(text)
    for name, x in blocks.items():
        q, expected = quantize(jnp.asarray(x), scheme), gold.quantize(x, scheme)
        for field in ("scales", "zero_points", "minimums"):
            actual, wanted = getattr(q, field), getattr(expected, field)
            assert (actual is None) == (wanted is None), (name, field)
            # Side data of poisoned groups, but for the scale itself, is unspecified.
            known = ~np.isnan(expected.scales.astype(np.float32))
            if field == "scales" and actual is not None:
                assert np.array_equal(np.isnan(np.asarray(actual).astype(np.float32)), ~known)
            if actual is not None:
                wrong = (bits(actual) != bits(wanted)) & known
                assert not wrong.any(), (name, field, np.asarray(actual)[wrong], wanted[wrong])
        wrong = np.asarray(q.codes) != expected.codes
        assert not wrong.any(), (name, x[wrong], np.asarray(q.codes)[wrong], expected.codes[wrong])
        values = np.asarray(q.dequantize())
        assert same_bits(values, expected.values), (name, values, expected.values)


@pytest.mark.parametrize("text", SCHEMES)
def test_fake_quantize_equals_the_round_trip_in_every_bit(text, blocks):
    scheme = parse_scheme(text)
    for name, x in blocks.items():
        values = fake_quantize(jnp.asarray(x), scheme)
        assert same_bits(values, quantize(jnp.asarray(x), scheme).dequantize()), name
