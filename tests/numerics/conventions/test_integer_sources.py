"""Published vectors of the integer conventions, and the inputs on which they disagree."""

import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, quantize
from numerics.conventions.entries import ENTRIES
from numerics.conventions.integer_reference import quantize_group
from numerics.conventions.integers import Convention, IntegerScheme

W = [[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]]
X = [
    [1.0, 0.1, -8.0, 0.5],
    [-0.7, 0.02, 5.0, 0.25],
    [0.3, -0.15, 2.0, -1.0],
    [0.9, 0.05, -6.5, 0.75],
]


def back(rows, convention, *, bits=4) -> list[list[float]]:
    """Return the dequantized values of rows, each one group, by the definition."""
    values = []
    for row in rows:
        integers, scale, zero = quantize_group(row, convention, bits=bits)
        values.append([float((q - zero) * np.float32(scale)) for q in integers])
    return values


# Vectors of ptq_and_pe_papers, section 5.1, printed to eight decimal places.
@pytest.mark.parametrize(
    ("rows", "convention", "bits", "wanted"),
    [
        (X, Convention.SMOOTHQUANT, 8, [
            [1.00787401, 0.12598425, -8, 0.50393701], [-0.70866144, 0.03937008, 5, 0.23622048],
            [0.2992126, -0.15748031, 2, -1.00787401], [0.92125988, 0.0511811, -6.5, 0.76771659]]),
        (X, Convention.SMOOTHQUANT, 4, [
            [1.14285719, 0, -8, 0], [-0.71428573, 0, 5, 0],
            [0.2857143, -0.2857143, 2, -0.85714293], [0.9285714, 0, -6.5, 0.9285714]]),
        (W, Convention.SMOOTHQUANT, 4, [
            [0.42857146, -0.2857143, 0.14285715, 1], [-1.5, 0.85714287, 0.21428572, 0],
            [0.02285714, 0.04571429, -0.05714286, 0.08]]),
        (W, Convention.GPTQ_SYM, 4, [
            [0.53333336, -0.26666668, 0.13333334, 0.9333334], [-1.6, 0.8, 0.4, 0],
            [0.02133333, 0.04266667, -0.064, 0.07466666]]),
        (W, Convention.AWQ, 4, [
            [0.5, -0.25, 0.16666667, 1], [-1.5, 0.75, 0.3, -0.15],
            [0.01866667, 0.03733333, -0.056, 0.084]]),
        (W, Convention.GPTQ, 4, [
            [0.5, -0.25, 0.16666667, 1], [-1.5, 0.75, 0.3, -0.15],
            [0.01866667, 0.03733333, -0.056, 0.084]]),
        (X[:2], Convention.QUAROT_ACT, 4, [
            [1.02857137, 0, -8.22857094, 0], [-0.64285713, 0, 4.5, 0]]),
    ],
)  # fmt: skip
def test_published_vectors(rows, convention, bits, wanted):
    np.testing.assert_allclose(back(rows, convention, bits=bits), wanted, rtol=0, atol=6e-8)


# Vector of bitmod, section 8, with FP16 weights and scales: scale, zero point and codes.
BITMOD_A = "224c a86a 1dbc 2d0d a567 29fa abb5 1481"
BITMOD_INTEGERS = {
    "int6": (0.0025463104248046875, None, [5, -14, 2, 31, -8, 18, -24, 0]),
    "int5": (0.005260467529296875, None, [2, -7, 1, 15, -4, 9, -11, 0]),
    "int4": (0.0112762451171875, None, [1, -3, 0, 7, -2, 4, -5, 0]),
    "int3": (0.02630615234375, None, [0, -1, 0, 3, -1, 2, -2, 0]),
    "int6-asym": (0.002208709716796875, 27, [33, 11, 30, 63, 17, 48, 0, 27]),
    "int5-asym": (0.004489898681640625, 13, [16, 5, 14, 31, 8, 23, 0, 13]),
    "int4-asym": (0.00927734375, 6, [7, 2, 7, 15, 4, 11, 0, 6]),
    "int3-asym": (0.0198822021484375, 3, [4, 1, 3, 7, 2, 5, 0, 3]),
}


@pytest.mark.parametrize("name", BITMOD_INTEGERS)
def test_plain_integers_with_half_scales_are_those_of_bitmods_code(name):
    scale, zero_point, codes = BITMOD_INTEGERS[name]
    bits = np.array([int(word, 16) for word in BITMOD_A.split()], np.uint16)
    q = quantize(np.float32(bits.view(np.float16))[None], parse_scheme(name, group_size=8))
    assert np.asarray(q.scales).tolist() == [[scale]]
    assert q.zero_points is None or np.asarray(q.zero_points).tolist() == [[zero_point]]
    assert np.asarray(q.codes).tolist() == [[code % 2 ** int(name[3]) for code in codes]]


# QuaRot's published vectors of asymmetric activations have clip ratio 1, which equals GPTQ.
def test_quarot_without_clipping_is_gptq():
    scales, zeros = zip(*(quantize_group(r, Convention.GPTQ, bits=4)[1:] for r in X), strict=True)
    np.testing.assert_allclose(scales, [0.6, 0.38, 0.2, 0.49333334], atol=3e-8)
    assert zeros == (13, 2, 5, 13)
    np.testing.assert_allclose(back(X[:1], Convention.GPTQ), [[1.2, 0, -7.8, 0.6]], atol=3e-7)


def test_quarot_keeps_95_percent_of_a_cache():
    integers, scale, zero = quantize_group([-4.0, 12.0], Convention.QUAROT_KV, bits=4)
    assert scale == (np.float32(11.4) + np.float32(3.8)) / np.float32(15)
    assert (integers, zero) == ([0, 15], 4)


# Vector of number_formats, section 2.5: x / s = 0.5 with a zero point of 1. AWQ and GPTQ round to 0
# and add 1; compressed-tensors adds 1, then rounds 1.5 to 2. Its codes start at -8.
def test_the_zero_point_is_added_before_or_after_rounding():
    group = [0.5, -1.0, 14.0]
    for convention in (Convention.AWQ, Convention.GPTQ):
        assert quantize_group(group, convention, bits=4) == ([1, 0, 15], np.float32(1), 1)
    found = quantize_group(group, Convention.COMPRESSED_ASYM, bits=4)
    assert found == ([2 - 8, 0 - 8, 15 - 8], np.float32(1), 1 - 8)
    assert back([group], Convention.AWQ)[0][0] == 0
    assert back([group], Convention.COMPRESSED_ASYM)[0][0] == 1


def test_a_range_without_zero():
    group = [10.0, 11.0, 12.5]
    assert quantize_group(group, Convention.AWQ, bits=4)[1] == np.float32(2.5) / np.float32(15)
    assert quantize_group(group, Convention.GPTQ, bits=4)[1] == np.float32(12.5) / np.float32(15)
    # A zero point of -60 is clipped to 0, so every value saturates at 15 steps.
    assert back([group], Convention.AWQ) == [[2.5, 2.5, 2.5]]
    np.testing.assert_allclose(back([group], Convention.GPTQ), [[10, 10.833333, 12.5]], rtol=1e-6)


def test_four_scales_of_one_symmetric_group():
    group = [7.5, -7.0, 1.0]
    scales = {c: quantize_group(group, c, bits=4)[1] for c in Convention}
    assert scales[Convention.SMOOTHQUANT] == scales[Convention.QUAROT] == np.float32(7.5) / 7
    assert scales[Convention.GPTQ_SYM] == scales[Convention.COMPRESSED] == 1
    assert scales[Convention.SIGNED_MAX] == -0.9375
    assert back([group], Convention.COMPRESSED)[0][0] == 7
    assert back([group], Convention.SIGNED_MAX)[0][0] == 7.5


# Without negative values GPTQ's range starts at 0, but its zero point stays in the middle.
def test_gptq_sym_saturates_half_of_a_positive_group():
    group = [15.0, 7.0, 8.0, 3.0]
    assert back([group], Convention.GPTQ_SYM) == [[7, 7, 7, 3]]
    assert back([[*group, -1.0]], Convention.GPTQ_SYM) == [[14, 8, 8, 4, 0]]
    assert back([group], Convention.COMPRESSED) == [[14, 8, 8, 4]]


@pytest.mark.parametrize(
    ("convention", "scale", "zero_point"),
    [
        (Convention.SMOOTHQUANT, np.float32(1e-5) / np.float32(7), 0),
        (Convention.QUAROT, np.float32(1e-5) / np.float32(7), 0),
        (Convention.AWQ, np.float32(1e-5) / np.float32(15), 0),
        # 1 / (2 / 15) is 7.4999995 in float32.
        (Convention.GPTQ, np.float32(2) / np.float32(15), 7),
        (Convention.GPTQ_SYM, np.float32(2) / np.float32(15), 8),
        (Convention.QUAROT_ACT, np.float32(1), 0),
        (Convention.COMPRESSED, np.float32(2.0**-23), 0),
        (Convention.SIGNED_MAX, np.float16(1), 0),
    ],
)
def test_a_group_of_zeros(convention, scale, zero_point):
    integers, found, zero = quantize_group([0.0, -0.0], convention, bits=4)
    assert (found, zero, integers) == (scale, zero_point, [zero_point] * 2)


# The scheme divides by the stored scale; GGUF multiplies by the reciprocal of the unrounded scale,
# adds 1/2 and truncates: 3.5 steps give 4 or 3, and 0.5 steps 0 or 1.
def test_signed_max_has_the_scale_of_q4_0_but_not_its_ties():
    x = np.zeros((1, 32), np.float32)
    x[0, :4] = [-8, 2.5, 0.5, -0.5]
    ours, theirs = quantize(x, ENTRIES["int4-signedmax"][0]), quantize(x, SCHEMES["q4_0"])
    assert np.asarray(ours.dequantize())[0, :4].tolist() == [-8, 2, 0, 0]
    assert np.asarray(theirs.dequantize())[0, :4].tolist() == [-8, 3, 1, 0]


@pytest.mark.parametrize(
    ("scheme", "bits"),
    [
        ("int4-awq", 4.28125),
        ("int4-gptq", 4 + 36 / 256),
        ("int8-smoothquant", 8.125),
        ("int4-ct", 4.25),
        ("int4-signedmax", 4.5),
        ("int8-ct-asym", 8 + 40 / 128),
    ],
)
def test_bits_per_weight(scheme, bits):
    found = ENTRIES[scheme][0]
    assert found.bits_per_weight((64, 256)) == bits
    assert found.bits_per_weight((64, 256), kind="index") == int(scheme[3])


def test_texts():
    assert all(parse_scheme(name) == scheme for name, (scheme, _) in ENTRIES.items())
    assert parse_scheme("int4-gptq:g64").name == "int4-gptq:g64"
    assert parse_scheme("int4-awq:g128").name == "int4-awq"


@pytest.mark.parametrize(
    ("bits", "size", "message"),
    [
        (9, 128, "integer conventions have 2 to 8 bits, not 9"),
        (4, None, "awq needs a group size, such as 128"),
    ],
)
def test_refusals(bits, size, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        IntegerScheme(bits=bits, convention=Convention.AWQ, size=size)
