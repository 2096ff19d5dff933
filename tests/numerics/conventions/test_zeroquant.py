"""ZeroQuant-FP's constraints on scales against scalar definition and published vectors."""

import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, quantize
from numerics.conventions.zeroquant import Rounding, ZeroQuantM2, quantize_row
from numerics.formats import E2M1

SIZE, ROWS, WIDTH = 32, 6, 72
W = [[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]]
#: Dequantized W under M1, and under M2 with the rows of W as the groups of one row.
CONSTRAINED = [
    [0.5, -0.25, 0.125, 1],
    [-1.5, 0.75, 0.25, -0.125],
    [0.0234375, 0.046875, -0.0625, 0.09375],
]


def tensor() -> np.ndarray:
    rng = np.random.default_rng(12)
    normal = rng.standard_normal((ROWS, WIDTH))
    spread = normal * 2.0 ** rng.integers(-10, 2, (ROWS, WIDTH // 8)).repeat(8, axis=1)
    steps = (normal.clip(-1, 1) * 6).round() * 2.0 ** -rng.integers(0, 12, (ROWS, 3)).repeat(24, 1)
    found = [normal, spread, steps, np.zeros((ROWS, WIDTH)), -np.zeros((ROWS, WIDTH))]
    found += [np.where(np.arange(WIDTH) < 40, 0, normal), normal * 2.0**-128]
    found += [normal * scale for scale in (2.0**-120, 2.0**-112, 2.0**125)]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    return np.concatenate(found).astype(np.float32)


def bits(x) -> np.ndarray:
    x = np.float32(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


@pytest.mark.parametrize("rounding", Rounding)
def test_arrays_are_the_definition(rounding):
    x = tensor()
    q = quantize(x, ZeroQuantM2(size=SIZE, rounding=rounding))
    values = np.asarray(q.dequantize())
    table = np.float32([E2M1.decode(code) for code in range(16)])
    for row in range(len(x)):
        groups = [x[row, start : start + SIZE].tolist() for start in range(0, WIDTH, SIZE)]
        codes, shifts, scale = quantize_row(groups, rounding)
        assert bits(q.arrays["row_scales"][row, 0]) == bits(scale)
        assert np.asarray(q.arrays["shifts"])[row].tolist() == shifts
        assert np.asarray(q.codes)[row].tolist() == np.concatenate(codes).tolist()
        units = np.ldexp(scale, -np.repeat(shifts, [len(group) for group in codes]))
        wanted = table[np.concatenate(codes)] * units
        wanted[np.abs(wanted) < 2.0**-126] *= 0
        assert np.array_equal(bits(values[row]), bits(wanted))


# Vectors of ptq_and_pe_papers, section 4.6; for M2 the rows of W are the groups of one row.
def test_m1_vectors():
    q = quantize(np.float32(W), parse_scheme("fp4_e2m1:g4:e8m0:rceil"))
    assert np.asarray(q.scales).astype(np.float32).ravel().tolist() == [0.25, 0.25, 0.015625]
    assert np.asarray(q.dequantize()).tolist() == CONSTRAINED
    assert round(float(np.mean((CONSTRAINED - np.float32(W)) ** 2)), 8) == 2.8162e-4


def test_m2_vectors():
    q = quantize(np.float32(W).reshape(1, -1), ZeroQuantM2(size=4))
    assert np.asarray(q.arrays["shifts"]).tolist() == [[0, 0, 4]]
    assert np.asarray(q.arrays["row_scales"]).tolist() == [[0.25]]
    assert np.asarray(q.dequantize()).reshape(3, 4).tolist() == CONSTRAINED


def test_m2_vectors_rounded_up():
    up = ZeroQuantM2(size=4, rounding=Rounding.CEIL)
    q = quantize(np.float32(W).reshape(1, -1), up)
    assert np.asarray(q.arrays["shifts"]).tolist() == [[1, 0, 5]]
    values = np.asarray(q.dequantize()).reshape(3, 4)
    assert values[0].tolist() == [0.5, -0.25, 0.125, 0.75]
    assert round(float(np.mean((values - np.float32(W)) ** 2)), 7) == 5.5795e-3


def error(x: np.ndarray, scheme) -> float:
    return float(np.sum((np.asarray(quantize(x, scheme).dequantize()) - x) ** 2) / np.sum(x**2))


# Errors of ptq_and_pe_papers, section 4.3. The error of M1 depends on the standard deviation
# relative to powers of two, which the specification doesn't state; its error is in between.
def test_errors_of_gaussian_rows():
    x = np.random.default_rng(13).standard_normal((64, 4096)).astype(np.float32)
    real, m1, m2 = parse_scheme("fp4_e2m1:g256:fp32"), SCHEMES["zqfp4-m1"], SCHEMES["zqfp4-m2"]
    assert error(x, real) == pytest.approx(0.01241, rel=0.02)
    assert error(x, m2) == pytest.approx(0.01416, rel=0.02)
    found = [error(x * np.float32(deviation), m1) for deviation in (1, 1.4, 1.6)]
    assert min(found) < 0.01673 < max(found)
    assert error(x, SCHEMES["zqfp4-m2-nearest"]) == pytest.approx(0.01422, rel=0.02)
    assert error(x, SCHEMES["zqfp4-m2-ceil"]) == pytest.approx(0.02359, rel=0.05)
    nearest = [error(x * np.float32(d), SCHEMES["zqfp4-m1-nearest"]) for d in (1, 1.2, 1.4, 1.6)]
    assert min(nearest) < 0.01380 < max(nearest)


def test_no_group_saturates():
    x = tensor()[: 2 * ROWS]
    q = quantize(x, ZeroQuantM2(size=SIZE))
    shifts = np.asarray(q.arrays["shifts"]).astype(int)
    scales = np.ldexp(np.asarray(q.arrays["row_scales"]), -shifts)
    for group, start in enumerate(range(0, WIDTH, SIZE)):
        amax = np.abs(x[:, start : start + SIZE]).max(1)
        assert (amax <= scales[:, group] * 6 * (1 + 1e-6)).all()


def test_texts():
    assert parse_scheme("zqfp4-m2") == ZeroQuantM2()
    assert parse_scheme("zqfp4-m2:g64") == ZeroQuantM2(size=64)
    assert parse_scheme("fp4_e2m1:g256:e8m0:rceil") == SCHEMES["zqfp4-m1"]
