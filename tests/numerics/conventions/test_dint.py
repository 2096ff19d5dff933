"""DINT with asymmetric ranges against its scalar definition and published vectors."""

import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.conventions.dint import Dint, Kind, quantize_group

SIZE, ROWS, WIDTH = 32, 3, 72
FULL, ASYMMETRIC = (Dint(bits=4, kind=kind, size=SIZE) for kind in Kind)


def tensor() -> np.ndarray:
    rng = np.random.default_rng(14)
    normal = rng.standard_normal((ROWS, WIDTH))
    quarters = rng.integers(-28, 29, (ROWS, WIDTH)) / 4
    quarters[:, ::SIZE] = -7
    found = [normal, quarters, np.abs(normal), -np.abs(normal), normal + 5, normal * 1e-7]
    found += [np.zeros((ROWS, WIDTH)), -np.zeros((ROWS, WIDTH)), normal * 2.0**-128]
    found += [normal * 1e6, normal * 2.0**125, np.full((ROWS, WIDTH), 3e38) * np.sign(normal)]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    return np.concatenate(found).astype(np.float32)


def numbers(codes: list[int], zero: int, scheme: Dint) -> np.ndarray:
    table = np.arange(1 << scheme.bits, dtype=np.float32)
    if scheme.kind is Kind.FULL:
        table[1 << (scheme.bits - 1) :] -= 1 << scheme.bits
    table -= zero
    table[list(scheme.half_codes)] = [0.5, -0.5]
    return table[codes]


def bits(x) -> np.ndarray:
    x = np.float32(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("n", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 8))])
def test_arrays_are_the_definition(kind, n):
    x, scheme = tensor(), Dint(bits=n, kind=kind, size=SIZE)
    q = quantize(x, scheme)
    values = np.asarray(q.dequantize())
    for row in range(len(x)):
        for group, start in enumerate(range(0, WIDTH, SIZE)):
            part = (row, slice(start, start + SIZE))
            with np.errstate(over="ignore"):
                codes, scale, zero = quantize_group(x[part].tolist(), scheme)
            assert bits(np.asarray(q.scales)[row, group]) == bits(scale)
            assert np.asarray(q.codes)[part].tolist() == codes
            if q.zero_points is not None:
                assert int(q.zero_points[row, group]) == zero
            wanted = numbers(codes, zero, scheme) * np.float32(scale)
            assert np.array_equal(bits(values[part]), bits(wanted))


# Vectors of ptq_and_pe_papers, section 2.6, where the scale is not rounded to FP16.
def test_full_vectors():
    group = [0.5, -0.25, 0.125, 1.0, -1.5, 0.75, 0.3, -0.1]
    codes, scale, _ = quantize_group(group, FULL)
    assert codes == [2, 15, 7, 5, 9, 4, 1, 8]
    wanted = [0.428571, -0.214286, 0.107143, 1.071429, -1.5, 0.857143, 0.214286, -0.107143]
    np.testing.assert_allclose(numbers(codes, 0, FULL) * np.float32(scale), wanted, rtol=2.0**-11)


def test_error_of_gaussian_groups():
    x = np.random.default_rng(15).standard_normal((4096, 128)).astype(np.float32)
    values = np.asarray(quantize(x, parse_scheme("dint4-f")).dequantize())
    assert np.mean((values - x) ** 2) == pytest.approx(0.012302, rel=0.01)


# For positive numbers the full range has 6 steps, the asymmetric range 13.
def test_asymmetric_groups():
    codes, scale, zero = quantize_group([13.0, 6.5, 0.5, 0.2, 0.0], ASYMMETRIC)
    assert (codes, scale, zero) == ([13, 6, 14, 0, 0], 1, 0)
    assert quantize_group([13.0], FULL)[1] == np.float16(13 / 6)
    # The codes of +1/2 and -1/2 don't depend on the zero point.
    codes, scale, zero = quantize_group([-9.0, 4.0, -0.5, 0.5, 0.0], ASYMMETRIC)
    assert (codes, scale, zero) == ([0, 13, 15, 14, 9], 1, 9)


def test_bits_texts_and_refusals():
    full, asymmetric = parse_scheme("dint4-f"), parse_scheme("dint4-a:g64")
    assert full.bits_per_weight((64, 256)) == 4.125
    assert asymmetric.bits_per_weight((64, 256)) == 4 + 20 / 64
    assert asymmetric == Dint(bits=4, kind=Kind.ASYMMETRIC, size=64)
    with pytest.raises(ValueError, match=r"^dINT has 3 to 8 bits, not 2$"):
        Dint(bits=2, kind=Kind.FULL)
