"""VS-Quant against its scalar definition."""

import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.conventions.vs_quant import VsQuant, quantize_row

SIZE, ROWS, WIDTH = 16, 6, 72


def tensor() -> np.ndarray:
    rng = np.random.default_rng(11)
    normal = rng.standard_normal((ROWS, WIDTH))
    spread = normal * 2.0 ** rng.integers(-10, 2, (ROWS, WIDTH // 8)).repeat(8, axis=1)
    found = [normal, spread, np.zeros((ROWS, WIDTH)), rng.integers(-9, 10, (ROWS, WIDTH)) / 2]
    found += [np.where(np.arange(WIDTH) < 20, 0, normal), normal * 2.0**-128, normal * 1e-9]
    found += [normal * scale for scale in (2.0**-125, 1e9, 2.0**125)]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    return np.concatenate(found).astype(np.float32)


def bits(x) -> np.ndarray:
    x = np.float32(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


@pytest.mark.parametrize("n,of_scales", [(4, 7), (8, 8)])
def test_arrays_are_the_definition(n, of_scales):
    x = tensor()
    q = quantize(x, VsQuant(bits=n, scale_bits=of_scales))
    values, rows = np.asarray(q.dequantize()), np.asarray(q.arrays["row_scales"])
    for row in range(len(x)):
        vectors = [x[row, start : start + SIZE].tolist() for start in range(0, WIDTH, SIZE)]
        codes, scales, row_scale = quantize_row(vectors, bits=n, scale_bits=of_scales)
        integers = np.concatenate([np.array(c) for c in codes])
        assert np.asarray(q.codes)[row].tolist() == (integers % 2**n).tolist()
        assert np.asarray(q.scales)[row].tolist() == scales
        assert bits(rows[row, 0]) == bits(row_scale)
        steps = np.float32(scales).repeat([len(c) for c in codes]) * np.float32(row_scale)
        assert np.array_equal(bits(values[row]), bits(np.float32(integers) * steps))


def test_a_vector_too_small_for_a_step_of_the_row_is_lost():
    x = np.zeros((1, 32), np.float32)
    x[0, [0, 16]] = [7 * 255, 7 * 0.4]
    q = quantize(x, VsQuant(bits=4))
    assert np.asarray(q.codes)[0, 16] == 7 and np.asarray(q.scales).tolist() == [[255, 0]]
    assert not np.asarray(q.dequantize())[0, 16:].any()


def test_texts_and_refusals():
    assert parse_scheme("int4-vs") == VsQuant(bits=4)
    assert parse_scheme("int8-vs:g64") == VsQuant(bits=8, size=64)
    scheme = VsQuant(bits=4, size=128, scale_bits=7)
    assert parse_scheme("int4-vs-s7:g128") == scheme and scheme.name == "int4-vs-s7:g128"
    with pytest.raises(ValueError, match=r"^VS-Quant has integers of 2 to 8 bits, not 1$"):
        VsQuant(bits=1)
    with pytest.raises(ValueError, match=r"^VS-Quant has scales of 2 to 8 bits, not 9$"):
        VsQuant(bits=4, scale_bits=9)
