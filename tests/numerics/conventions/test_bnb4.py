"""The 4-bit types of bitsandbytes against their definition; ``test_oracles`` tests the library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.conventions.bnb4 import Bnb4, quantize_block
from numerics.formats import FP4_BNB, NF4, TableFormat

RNG = np.random.default_rng(11)
NORMAL = RNG.standard_normal((8, 200)) * np.exp2(RNG.integers(-100, 100, (8, 1)))
X = np.float32(np.concatenate([NORMAL, RNG.integers(-12, 13, (4, 200)) / 12, np.zeros((3, 200))]))
X[8, :64], X[9, 64:128], X[10, 3] = 2.0**127, 1e-38, 1e-45
X[13, 5], X[14, 150] = -0.0, 3e38


@pytest.mark.parametrize("element", [NF4, FP4_BNB], ids=lambda element: element.name)
def test_codes_scales_and_values_equal_the_definition(element):
    scheme = Bnb4(element=element)
    q = quantize(jnp.asarray(X), scheme)
    values = np.asarray(q.dequantize())
    for row in range(len(X)):
        for block, start in enumerate(range(0, X.shape[1], 64)):
            part = slice(start, start + 64)
            codes, scale = quantize_block(element, X[row, part].tolist())
            assert np.asarray(q.codes)[row, part].tolist() == codes
            assert np.asarray(q.scales)[row, block] == scale
            restored = np.float32([element.decode(code) for code in codes]) * scale
            assert np.array_equal(values[row, part], restored)


def test_results_are_the_same_however_they_are_run():
    scheme, x = Bnb4(element=FP4_BNB), jnp.asarray(X)
    expected = np.asarray(quantize(x, scheme).dequantize())
    larger = jax.jit(lambda x: (quantize(x * 1.0, scheme).dequantize() + 0.0) * 1.0)
    assert np.array_equal(np.asarray(larger(x)), expected)


# For a block with NaN, bitsandbytes 0.50 returns these codes and a NaN scale.
@pytest.mark.parametrize(("element", "code"), [(NF4, 15), (FP4_BNB, 3)])
def test_what_is_not_finite_poisons_its_block(element, code):
    x = X.copy()
    x[0, 3], x[1, 70] = np.nan, -np.inf
    q = quantize(jnp.asarray(x), Bnb4(element=element))
    bad = np.zeros(x.shape, bool)
    bad[0, :64] = bad[1, 64:128] = True
    assert np.array_equal(np.isnan(np.asarray(q.dequantize())), bad)
    assert (np.asarray(q.codes)[bad] == code).all()
    assert quantize_block(element, x[0, :64].tolist())[0] == [code] * 64


def test_names_and_sizes():
    assert parse_scheme("fp4-bnb") == Bnb4(element=FP4_BNB)
    assert parse_scheme("nf4-bnb", group_size=128) == Bnb4(element=NF4, size=128)
    with pytest.raises(ValueError, match="0"):
        Bnb4(element=NF4).with_group_size(0)


def test_codes_of_a_table_may_have_any_order():
    twelfths = [round(12 * value, 4) for value in FP4_BNB.values]
    assert twelfths[:8] == [0, 0.0625, 8, 12, 4, 6, 2, 3]
    assert twelfths[8:] == [-v for v in twelfths[:8]]
    assert [FP4_BNB.encode(x) for x in (-0.0, 0.0, 1e-3, -1e-3, 0.9)] == [0, 0, 8, 0, 3]
    gap = TableFormat(name="t", table=(-1.0, 0.0, 1.0), codes=(3, 0, 1))
    assert gap.values == (0, 1, 1, -1)
    for codes in ((0, 1, 1), (0, 1, 4), (0, 1)):
        with pytest.raises(ValueError, match=r"^t has 3 values and needs a code for each$"):
            TableFormat(name="t", table=(-1.0, 0.0, 1.0), codes=codes)
    with pytest.raises(ValueError, match="increasing"):
        TableFormat(name="t", table=(-1.0, 0.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="increasing"):
        TableFormat(name="t", table=(-1.0, 1.0, 1.0, 2.0), codes=(0, 1, 2, 3))
