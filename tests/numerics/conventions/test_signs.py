"""One-bit values against their scalar definition."""

import numpy as np

from numerics import parse_scheme, quantize
from numerics.conventions.signs import Signs, quantize_signs

SIZE, ROWS, WIDTH = 32, 6, 72


def tensor() -> np.ndarray:
    rng = np.random.default_rng(8)
    normal = rng.standard_normal((ROWS, WIDTH))
    found = [normal, normal * 1e-7, np.zeros((ROWS, WIDTH)), -np.zeros((ROWS, WIDTH))]
    found += [normal * 2.0**-128, normal * 1e6, normal * 2.0**125, np.full((ROWS, WIDTH), 3e38)]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    return np.concatenate(found).astype(np.float32)


def test_arrays_are_the_definition():
    x = tensor()
    q = quantize(x, Signs(size=SIZE))
    values = np.asarray(q.dequantize())
    for row in range(len(x)):
        for group, start in enumerate(range(0, WIDTH, SIZE)):
            codes, scale = quantize_signs(x[row, start : start + SIZE].tolist())
            assert np.array_equal(q.scales[row, group], scale, equal_nan=True)
            assert np.asarray(q.codes)[row, start : start + SIZE].tolist() == codes
            signed = np.where(codes, np.float32(scale), -np.float32(scale))
            assert np.array_equal(values[row, start : start + SIZE], signed, equal_nan=True)


def test_zeros_come_back_as_zeros():
    assert not np.asarray(quantize(np.zeros((2, 4), np.float32), Signs(size=4)).dequantize()).any()


def test_no_other_scale_has_less_error():
    x = tensor()[:1, :SIZE]
    q = quantize(x, Signs(size=SIZE))
    errors = [
        float(((x - np.sign(x) * np.float32(q.scales) * f) ** 2).sum()) for f in (0.99, 1, 1.01)
    ]
    assert errors[1] == min(errors)


def test_texts():
    assert parse_scheme("int1") == Signs() and parse_scheme("int1:g64") == Signs(size=64)
