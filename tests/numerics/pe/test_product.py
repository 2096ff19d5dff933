"""Matrix products of PEs whose sums round: each group against the scalar definition."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import QuantizedTensor, parse_scheme, quantize
from numerics.pe.dequantizer import ColumnDot, column
from numerics.pe.fp16_mac import Fp16Dot, fp16_mac
from numerics.pe.product import PeMatrix, pe_product
from numerics.pe.rounding import aligned_model, check_pe
from numerics.pe.rounding_codes import pe_codes
from numerics.pe.running import RunningDot
from rtl.catalog import ROUNDING

SLOW = pytest.mark.slow
RANDOM = np.random.default_rng(7)
#: Length of rows, not a multiple of the group, and of groups, not a multiple of a beat.
LENGTH, GROUP = 50, 18


def product(x, weight, name):
    return np.asarray(pe_product(jnp.asarray(x), PeMatrix(weight=weight, pe=ROUNDING[name])))


def matrix(name, rows, length=LENGTH, group=GROUP):
    weights = RANDOM.normal(size=(rows, length)).astype(np.float32)
    return quantize(jnp.asarray(weights), parse_scheme(scheme_of(name), group_size=group))


def scheme_of(name):
    others = {
        "fp16-mac": "int4",
        "mixpe-w4a16-running": "int4",
        "bitmod-fp4-column": "bitmod-fp4-s8-hw",
    }
    if name in others:
        return others[name]
    return name.rsplit("-", 1)[0] if "fp" in name else name.split("-")[1]


def activations(rows, length=LENGTH):
    """Return numbers over the whole FP16 range, subnormal numbers and zeros included."""
    sizes = np.exp2(RANDOM.integers(-26, 15, (rows, length)))
    x = RANDOM.normal(size=(rows, length)) * sizes * (RANDOM.random((rows, length)) > 0.1)
    return x.astype(np.float32)


def expected(x, weight, name):
    """Return the scalar definition: the PE for each group, then scales and sums in float32."""
    pe = ROUNDING[name]
    codes = np.clip(x, -65504, 65504).astype(np.float16).view(np.uint16).astype(int)
    total = np.zeros((len(x), weight.shape[0]), np.float32)
    for token, row in np.ndindex(total.shape):
        if isinstance(pe, Fp16Dot):
            numbers = np.asarray(weight.dequantize())[row].astype(np.float16).view(np.uint16)
            total[token, row] = fp16_mac(numbers.tolist(), codes[token].tolist())
        else:
            total[token, row] = of_groups(pe, weight, row, codes[token])
    return total


def of_groups(pe, weight, row, codes):
    model = pe if isinstance(pe, RunningDot) else aligned_model(pe)
    scales, group = np.asarray(weight.scales).astype(np.float32)[row], weight.scheme.group_size
    ours = np.asarray(pe_codes(weight, pe))[row]
    found = []
    for start in range(0, len(codes), group):
        rest = [0] * (-len(codes[start : start + group]) % getattr(model, "lanes", 1))
        pair = ([*row_of[start : start + group].tolist(), *rest] for row_of in (ours, codes))
        found.append(model.group(*pair))
    if isinstance(pe, ColumnDot):
        unit = np.float32(pe.model.generator.unit)
        of_scales = np.asarray(weight.arrays["scale_codes"])[row].tolist()
        return np.float32(column(found, of_scales)) * unit * scales
    total = np.float32(0)
    for number, scale in zip(found, scales, strict=True):
        value = model.value(number)
        rounded = np.float32(float(value))
        assert isinstance(pe, RunningDot) or Fraction(float(rounded)) == value
        total += rounded * scale
    return total


def test_codes_that_a_pe_reads_stand_for_the_values_of_the_weights():
    weight = matrix("bitmod-fp4-special", 3)
    for name in ("bitmod-fp4-special", "bitmod-fp4-aligned"):
        fmt = aligned_model(ROUNDING[name]).generator.weights
        codes = np.asarray(pe_codes(weight, ROUNDING[name]))
        values = np.float32([fmt.decode(code) for code in range(1 << fmt.bits)])[codes]
        scales = np.repeat(np.asarray(weight.scales).astype(np.float32), GROUP, axis=1)
        assert np.array_equal(values * scales[:, :LENGTH], np.asarray(weight.dequantize()))
    assert {5.0, -5.0, 8.0, -8.0} & set(values.ravel().tolist())


#: One PE of each kind; the other PEs differ from these only in format or rounding.
DIFFERENT = ("bitmod-fp4-aligned", "bitmod-fp4-special", "fp16-mac", "mixpe-w4a16-running")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in DIFFERENT else SLOW) for n in ROUNDING]
)
def test_products_are_the_definition(name):
    weight, x = matrix(name, 3), activations(4)
    assert np.array_equal(
        product(x, weight, name).view(np.int32), expected(x, weight, name).view(np.int32)
    )


@pytest.mark.slow
def test_truncation_differs_from_rounding_and_from_the_exact_product():
    weight, x = matrix("bitmod-fp4-aligned", 16), activations(16)
    exact = x @ np.asarray(weight.dequantize()).T
    cut, nearest = (product(x, weight, f"bitmod-fp4-{kind}") for kind in ("aligned", "nearest"))
    noise = [np.square(each - exact).sum() / np.square(exact).sum() for each in (cut, nearest)]
    assert 0 < noise[1] < noise[0] < 1e-3


def test_a_product_inside_a_larger_computation_has_the_same_bits():
    name = "bitmod-int8-aligned"
    weight, x = matrix(name, 5), activations(6)
    one = product(x, weight, name)

    @jax.jit
    def twice(x, matrix):
        return pe_product(x[::-1], matrix) * 2, pe_product(x, matrix)

    backwards, again = twice(jnp.asarray(x), PeMatrix(weight=weight, pe=ROUNDING[name]))
    assert np.array_equal(np.asarray(again).view(np.int32), one.view(np.int32))
    assert np.array_equal(np.asarray(backwards)[::-1].view(np.int32), (one * 2).view(np.int32))


def test_poisoned_groups_stay_poisoned_and_large_activations_saturate():
    weight = matrix("bitmod-int4-aligned", 2)
    scales = np.asarray(weight.scales).copy()
    scales[1, 0] = np.nan
    poisoned = QuantizedTensor(
        arrays={**weight.arrays, "scales": jnp.asarray(scales)},
        scheme=weight.scheme,
        shape=weight.shape,
    )
    x = np.full((1, LENGTH), 1e30, np.float32)
    found = product(x, poisoned, "bitmod-int4-aligned")
    assert (
        np.isnan(found[0, 1])
        and found[0, 0] == product(x * 0 + 65504, weight, "bitmod-int4-aligned")[0, 0]
    )


@pytest.mark.parametrize(
    "scheme,name,words",
    [
        ("int4", "bitmod-fp4-aligned", "bitmod-fp4, with one scale a group, not int4:g128"),
        ("bitmod-fp4-er", "bitmod-fp4-aligned", "one scale a group, not bitmod-fp4-er$"),
        ("int8:asym", "bitmod-int8-aligned", "one scale a group, not int8:g128:asym"),
        ("int8", "bitmod-int4-aligned", "codes of int4"),
        ("bitmod-fp3", "bitmod-fp4-special", "fp4_e2m1 with a special value, .* not bitmod-fp3$"),
        ("bitmod-fp4", "bitmod-fp4-column", "with 8-bit scales of groups and one of the row"),
        ("int4:g256", "mixpe-w4a16-running", "accumulators of 33 bits; the limit is 32"),
        ("int4:asym", "mixpe-w4a16-running", "codes of int4, with one scale a group"),
        (
            "bitmod-fp4:g65536",
            "bitmod-fp4-aligned",
            "32768 cycles; .* 15 bits is proved for up to 8192",
        ),
    ],
)
def test_weights_that_a_pe_does_not_read_are_refused(scheme, name, words):
    with pytest.raises(ValueError, match=words):
        check_pe(parse_scheme(scheme), ROUNDING[name], 1 << 20)
