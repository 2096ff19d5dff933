"""BitMoD with 8-bit group scales against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.mixtures.bitmod_scaled import BitModScaled, second_level

RNG = np.random.default_rng(9)
X = np.float32(RNG.standard_normal((5, 300)) * np.exp2(RNG.integers(-9, 3, (5, 1))))
X[1, :128], X[2] = 0, 0
SCHEMES = [
    pytest.param(parse_scheme(f"bitmod-fp{bits}-s8-hw"), marks=marks, id=f"fp{bits}")
    for bits, marks in ((3, ()), (4, pytest.mark.slow))
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_and_scales_equal_the_definition(scheme):
    q, plain = quantize(jnp.asarray(X), scheme), quantize(jnp.asarray(X), scheme.plain)
    found = {name: np.asarray(array) for name, array in q.arrays.items()}
    values = np.asarray(q.dequantize())
    assert np.array_equal(found["selectors"], plain.arrays["selectors"])
    for row in range(len(X)):
        codes, of_row = second_level(np.asarray(plain.scales)[row].tolist())
        assert found["scale_codes"][row].tolist() == codes and found["scales"][row] == of_row
        for column in range(X.shape[1]):
            group = column // scheme.size
            scale = np.float32(codes[group]) * np.float32(of_row)
            fmt = scheme.formats[found["selectors"][row, group]]
            code = fmt.encode(float(X[row, column] / scale))
            assert found["codes"][row, column] == code
            assert values[row, column] == np.float32(fmt.decode(code)) * scale


@pytest.mark.slow
def test_second_scales_cost_little():
    x = X[[0, 3, 4]]
    errors = [
        float(((np.asarray(fake_quantize(jnp.asarray(x), parse_scheme(name))) - x) ** 2).sum())
        for name in ("bitmod-fp4", "bitmod-fp4-s8-hw")
    ]
    assert errors[0] * 0.98 < errors[1] < errors[0] * 1.05


@pytest.mark.slow
def test_results_are_the_same_however_they_are_run():
    scheme, x = parse_scheme("bitmod-fp4-s8-hw"), jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, scheme))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, scheme) + 0.0) * 1.0)
    mapped = jax.vmap(lambda row: fake_quantize(row[None], scheme)[0])
    for found in (larger(x), mapped(x)):
        assert np.array_equal(np.asarray(found), expected)


def test_a_row_with_nan_is_poisoned_and_widths_are_checked():
    x = X.copy()
    x[0, 5] = np.nan
    q = quantize(jnp.asarray(x), parse_scheme("bitmod-fp3-s8-hw"))
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad[0].all() and not bad[1:].any() and not np.asarray(q.codes)[0].any()
    with pytest.raises(ValueError, match="3 or 4 bits, not 6"):
        BitModScaled(weight_bits=6)
