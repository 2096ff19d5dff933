"""Computation and storage of scales: facts that can be checked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.schemes.scales import tree_sum


def group(*values: float, width: int = 16) -> jnp.ndarray:
    """One row of ``width`` values, zeros after the given ones."""
    return jnp.asarray(np.pad(np.float32(values), (0, width - len(values)))[None])


def scales(text: str, *values: float, width: int = 16) -> list[float]:
    q = quantize(group(*values, width=width), parse_scheme(text))
    return np.asarray(q.scales).astype(np.float64)[0].tolist()


def codes(text: str, *values: float) -> list[int]:
    return np.asarray(quantize(group(*values), parse_scheme(text)).codes)[0][: len(values)].tolist()


# amax, and the exponent of the scale of FP4 under each rule: 6.5 saturates under the first.
@pytest.mark.parametrize(
    ("amax", "exponents"),
    [
        (4.0, (0, 0, 0, 0)),
        (4.5, (0, 0, 1, 0)),
        (6.0, (0, 0, 1, 0)),
        (6.5, (0, 1, 1, 0)),
        (7.0, (0, 1, 1, 1)),
        (8.0, (1, 1, 1, 1)),
    ],
)
def test_mx_rules_differ_where_values_would_saturate(amax, exponents):
    rules = ("", "-rceil", "-ceil", "-even")
    found = [scales(f"mxfp4{rule}", amax, width=32)[0] for rule in rules]
    assert found == [2.0**exponent for exponent in exponents]


def test_even_looks_at_the_mantissa_of_the_element():
    # 448 stays as it is in four bits of significand; 496 rounds to 512.
    assert scales("mxfp8_e4m3-even", 448.0, width=32) == [1.0]
    assert scales("mxfp8_e4m3-even", 495.9, width=32) == [1.0]
    assert scales("mxfp8_e4m3-even", 496.0, width=32) == [2.0]


@pytest.mark.parametrize("exponent", range(-126, 128, 7))
def test_mx_exponents_are_exact_below_powers_of_two(exponent):
    amax = np.float32(2.0**exponent)
    below = np.nextafter(amax, np.float32(0))
    expected = [2.0 ** max(e - 2, -127) for e in (exponent, exponent - 1)]
    assert [scales("mxfp4", x, width=32)[0] for x in (amax, below)] == expected


def test_rceil_is_exact_a_hair_above_the_largest_value():
    # 448 * 2^-16 has scale 2^-16; the next float32 needs the next power of two.
    amax = np.float32(448 * 2.0**-16)
    assert scales("mxfp8_e4m3-rceil", amax, width=32) == [2.0**-16]
    assert scales("mxfp8_e4m3-rceil", np.nextafter(amax, np.float32(1)), width=32) == [2.0**-15]


def test_mx_blocks_of_zeros_have_the_smallest_scale():
    q = quantize(group(0.0, -0.0, width=32), parse_scheme("mxfp4"))
    assert np.asarray(q.scales).view(np.uint8).tolist() == [[0]]
    assert q.codes[0, :3].tolist() == [0, 8, 0]


def test_mx_blocks_with_nan_or_infinity_are_poisoned():
    for bad in (np.nan, np.inf):
        q = quantize(group(1.0, bad, width=32), parse_scheme("mxfp4"))
        assert np.asarray(q.scales).view(np.uint8).tolist() == [[255]]
        assert np.isnan(q.dequantize()).all() and not q.codes.any()


def test_mx_integers_never_use_minus_two():
    assert codes("mxint8:g32", -1.9999999, 1.0) == [0x81, 0x40]


def test_groups_of_zeros_have_scale_one():
    for text in ("int4:g16", "fp4:g16:bf16", "int4-asym:g16", "int4:g16:floatmin", "nf4:g16"):
        assert scales(text, 0.0) == [1.0]
    assert codes("fp4:g16", 0.0, -0.0) == [0, 8]
    assert codes("nf4:g16", 0.0, -0.0) == [7, 7]


def test_a_scale_too_small_for_its_format_is_the_smallest_positive():
    assert scales("int4:g16:fp16", 1e-9) == [2.0**-24]
    assert scales("int4:g16:e4m3", 1e-9) == [2.0**-9]
    assert scales("int4:g16:fp32", 2.0**-126) == [2.0**-126]
    assert scales("int4:g16:bf16", 2.0**-126) == [2.0**-126]


def test_a_scale_too_large_for_its_format_is_the_largest_finite_and_values_saturate():
    assert scales("int4:g16:fp16", 1e9) == [65504.0]
    assert scales("int4:g16:e4m3", 1e9) == [448.0]
    assert float(fake_quantize(group(1e9), parse_scheme("int4:g16:fp16"))[0, 0]) == 7 * 65504.0
    assert np.isfinite(fake_quantize(group(3e38, -3e38), parse_scheme("int8:asym:g16:fp32"))).all()


def test_codes_come_from_the_stored_scale():
    # amax / 7 = 0.14285..., in FP16 0.142822265625; 0.0714 is below half of the former and 0.9998
    # of half of the latter.
    assert scales("int4:g16:fp16", 1.0) == [0.142822265625]
    assert codes("int4:g16:fp16", 1.0, 0.07142) == [7, 1]
    assert codes("int4:g16:fp32", 1.0, 0.07142) == [7, 0]


def test_values_exactly_between_two_codes_go_to_the_even_one():
    assert codes("int4:g16:fp32", 7.0, 0.5, 1.5, 2.5, -0.5, -1.5) == [7, 0, 2, 2, 0, 14]


def test_full_integers_use_all_of_their_range():
    assert scales("int4_full:g16:fp32", 7.5, -7.5) == [1.0]
    assert codes("int4_full:g16:fp32", 7.5, -7.5) == [7, 8]


def test_integer_zero_points_represent_zero_exactly():
    q = quantize(group(-5.0, 10.0, 0.0), parse_scheme("int4:asym:g16:fp32"))
    assert (q.scales.item(), q.zero_points.item()) == (1.0, 5)
    assert q.codes[0, :3].tolist() == [0, 15, 5]
    assert q.dequantize()[0, :3].tolist() == [-5.0, 10.0, 0.0]


def test_asymmetric_ranges_are_widened_to_contain_zero():
    q = quantize(jnp.full((1, 16), 30.0).at[0, 0].set(15.0), parse_scheme("int4:asym:g16:fp32"))
    assert (q.scales.item(), q.zero_points.item(), q.codes[0, 0].item()) == (2.0, 0, 8)


def test_asymmetric_codes_are_rounded_before_the_zero_point_is_added():
    # x / scale = 0.5 rounds to 0 and the zero point is 1: code 1; the sum 1.5 would round to 2.
    assert codes("int4:asym:g16:fp32", -1.0, 14.0, 0.5) == [0, 15, 1]


def test_float_minimums_start_at_the_least_value():
    x = jnp.asarray(np.arange(100, 116, dtype=np.float32)[None])
    q = quantize(x, parse_scheme("int4:floatmin:g16"))
    assert (float(q.scales.item()), float(q.minimums.item())) == (1.0, 100.0)
    assert q.codes[0].tolist() == list(range(16))
    assert np.array_equal(q.dequantize(), x)


def test_ternary_scales_are_the_mean_magnitude():
    x = jnp.asarray(np.float32([[1.0, -3.0, 0.25, 0.0] * 4]))
    q = quantize(x, parse_scheme("ternary:g16:fp32"))
    assert q.scales.item() == 1.0625
    assert q.dequantize()[0, :4].tolist() == [1.0625, -1.0625, 0.0, 0.0]


def test_sums_have_a_defined_order():
    rng = np.random.default_rng(1)
    for width in (1, 2, 7, 128, 300):
        x = rng.standard_normal((5, width)).astype(np.float32)
        expected = np.pad(x, ((0, 0), (0, (1 << (width - 1).bit_length()) - width)))
        while expected.shape[1] > 1:
            half = expected.shape[1] // 2
            expected = expected[:, :half] + expected[:, half:]
        assert np.array_equal(tree_sum(jnp.asarray(x)), expected[:, 0])


def test_nvfp4_has_two_levels():
    # The largest block reaches the largest E4M3 scale: g = 2688 / 2688 = 1, s = 448.
    x = np.zeros((1, 48), np.float32)
    x[0, 0], x[0, 16] = 2688.0, 6.0
    q = quantize(jnp.asarray(x), parse_scheme("nvfp4"))
    assert float(q.tensor_scale) == 1.0
    # The last block is zero: its scale is 1, byte 0x38.
    assert np.asarray(q.scales).view(np.uint8).tolist() == [[0x7E, 0x38, 0x38]]
    assert q.codes[0, [0, 16, 32]].tolist() == [7, 7, 0]
    assert q.dequantize()[0, [0, 16]].tolist() == [2688.0, 6.0]


def test_nvfp4_block_scales_go_down_to_the_smallest_subnormal():
    x = np.zeros((1, 32), np.float32)
    x[0, 0], x[0, 16] = 2688.0, 1e-6
    q = quantize(jnp.asarray(x), parse_scheme("nvfp4"))
    assert np.asarray(q.scales).view(np.uint8).tolist() == [[0x7E, 0x01]]


def test_an_all_zero_nvfp4_tensor_has_scale_one():
    q = quantize(jnp.zeros((2, 32)), parse_scheme("nvfp4"))
    assert float(q.tensor_scale) == 1.0
    assert (np.asarray(q.scales).view(np.uint8) == 0x38).all() and not q.codes.any()


def test_a_nan_poisons_all_of_an_nvfp4_tensor():
    x = jnp.ones((2, 32)).at[0, 3].set(np.nan)
    q = quantize(x, parse_scheme("nvfp4"))
    assert np.isnan(q.tensor_scale) and np.isnan(q.dequantize()).all()
