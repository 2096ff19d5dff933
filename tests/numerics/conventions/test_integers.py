"""Integer conventions: scalar definition, published vectors, and where sources disagree."""

import itertools

import numpy as np
import pytest

from numerics import quantize
from numerics.conventions.integer_reference import quantize_group
from numerics.conventions.integers import Convention, IntegerScheme

SIZE, ROWS, WIDTH = 32, 3, 72


def scheme_of(convention, *, size=SIZE, bits=4) -> IntegerScheme:
    return IntegerScheme(bits=bits, convention=convention, size=size)


def tensors() -> np.ndarray:
    """Return all test tensors stacked as rows, so that each scheme is compiled once."""
    rng = np.random.default_rng(7)
    normal = rng.standard_normal((ROWS, WIDTH))
    found = [normal, normal * 2.0 ** rng.integers(-12, 12, (ROWS, WIDTH)), normal * 1e-7]
    found += [rng.integers(-16, 17, (ROWS, WIDTH)) / 2, np.zeros((ROWS, WIDTH)), normal + 9]
    found += [normal * 2.0**-128, normal * 2.0**125, -np.abs(normal), -np.zeros((ROWS, WIDTH))]
    found += [normal * 2.0**-122, np.full((ROWS, WIDTH), 3e38) * np.sign(normal)]
    found += [np.full((ROWS, WIDTH), 5.0) + normal * 1e-7, np.abs(normal) * 3e5]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    return np.concatenate(found).astype(np.float32)


def expected(x: np.ndarray, scheme: IntegerScheme):
    """Return codes, scales, zero points and values by the scalar definition."""
    mask, size = (1 << scheme.bits) - 1, scheme.size or x.shape[-1]
    codes, values = np.zeros(x.shape, np.uint8), np.zeros_like(x)
    scales, zeros = [], []
    for row, start in itertools.product(range(len(x)), range(0, x.shape[-1], size)):
        part = (row, slice(start, start + size))
        integers, scale, zero = quantize_group(
            x[part].tolist(), scheme.convention, bits=scheme.bits
        )
        codes[part] = np.array(integers) & mask
        values[part] = np.float32(np.array(integers) - zero) * np.float32(scale)
        scales.append(scale)
        zeros.append(zero & mask)
    return codes, np.reshape(scales, (len(x), -1)), np.reshape(zeros, (len(x), -1)), values


def same(actual, wanted) -> bool:
    actual, wanted = np.asarray(actual), np.asarray(wanted)
    if wanted.dtype == np.float32:
        nan = np.isnan(wanted)
        return np.array_equal(np.isnan(actual), nan) and np.array_equal(
            actual[~nan].view(np.uint32), wanted[~nan].view(np.uint32)
        )
    return actual.dtype == wanted.dtype and np.array_equal(actual, wanted, equal_nan=True)


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("convention", Convention)
def test_arrays_are_the_definition(convention, bits):
    scheme, x = scheme_of(convention, bits=bits), tensors()
    q = quantize(x, scheme)
    codes, scales, zeros, values = expected(x, scheme)
    assert same(q.scales, scales)
    assert same(q.codes, codes)
    if q.zero_points is not None:
        assert same(q.zero_points, zeros.astype(np.uint8))
    flushed = np.where(np.abs(values) < 2.0**-126, np.copysign(np.float32(0), values), values)
    assert same(q.dequantize(), flushed)
    assert {name: (a.shape, a.dtype) for name, a in q.arrays.items()} == {
        field.name: (field.shape, field.dtype) for field in scheme.layout(x.shape)
    }
