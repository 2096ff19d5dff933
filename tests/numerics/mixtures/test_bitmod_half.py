"""BitMoD in FP16 against its published code's vectors and its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.mixtures.bitmod_half import BitModHalf, quantize_row


def halves(text):
    return np.array([int(word, 16) for word in text.split()], np.uint16).view(np.float16)


A = halves("224c a86a 1dbc 2d0d a567 29fa abb5 1481")
B = halves("2fae ad1f 2a66 38e1 af0a 251f b4a4 32b8")
C = halves("bbae 3800 3785 b4f6 33ae afae 251f 35c3 b800 2f0a")
D = halves("27ae 211f a51f 291f aa66 2666 a3ae 1d1f")
RNG = np.random.default_rng(2)
X = np.float32(RNG.standard_normal((6, 300)) * np.float32([[0.02], [0.005], [1]] * 2))
X[2, :128], X[5, 130:140] = 0, 1e-7
#: Schemes that cover each bit width and each scale type once; other combinations are slow.
SCHEMES = [
    pytest.param(parse_scheme(f"bitmod-fp{n}-{kind}"), marks=marks, id=f"fp{n}-{kind}")
    for n, kind, marks in (
        (3, "fp16", ()),
        (4, "s8-ref", pytest.mark.slow),
        (3, "s8-ref", pytest.mark.slow),
        (4, "fp16", pytest.mark.slow),
    )
]


@pytest.mark.parametrize(
    ("weights", "bits", "selector", "values"),
    [
        (A, 4, 2, "210d a794 1d0d 2d0d a50d 290d ab94 0000"),
        pytest.param(A, 3, 1, "250d a90d 0000 2d0d a50d 290d ab94 0000", marks=pytest.mark.slow),
        pytest.param(
            C, 4, 3, "bbae 37ae 37ae b5c2 33ae afae 0000 35c2 b7ae 2fae", marks=pytest.mark.slow
        ),
        (C, 3, 0, "bbae 37ae 37ae b3ae 33ae b3ae 0000 37ae b7ae 0000"),
    ],
)
def test_vectors_of_the_published_code(weights, bits, selector, values):
    scheme = BitModHalf(weight_bits=bits, size=len(weights))
    q = quantize(jnp.asarray(np.float32(weights)[None]), scheme)
    assert int(q.arrays["selectors"][0, 0]) == selector
    assert np.array_equal(np.asarray(q.dequantize())[0], np.float32(halves(values)))


#: Scheme with 8-bit scale codes; tests use one shape, because it takes long to compile.
CODED = BitModHalf(weight_bits=4, scale_bits=8, size=8)
CODED_X = np.tile(np.float32(np.concatenate([A, B, C[:8], D])), (4, 1))


def test_vector_of_scales_as_codes():
    q = quantize(jnp.asarray(CODED_X), CODED)
    found = {name: np.asarray(array)[0].tolist() for name, array in q.arrays.items()}
    assert found["scales"] == [0.00031375885009765625, 0.0002353191375732422]
    assert (found["scale_codes"], found["selectors"]) == ([21, 162, 255, 13], [2, 2, 3, 0])
    out = (
        "210f a796 1d0f 2d0f a50f 290f ab96 0000 2f51 ace1 28e1 38e1 af51 28e1 b4e1 3351 "
        "bbae 37ae 37ae b5c2 33ae afae 0000 35c2 282d 202d a42d 2939 aa44 2644 a42d 1c2d"
    )
    assert np.array_equal(np.asarray(q.dequantize())[0], np.float32(halves(out)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_selectors_and_values_equal_the_definition(scheme):
    q = quantize(jnp.asarray(X), scheme)
    values = np.asarray(q.dequantize())
    for row in range(len(X)):
        codes, selectors, restored = quantize_row(X[row].tolist(), scheme)
        assert np.asarray(q.codes)[row].tolist() == codes
        assert np.asarray(q.arrays["selectors"])[row].tolist() == selectors
        assert np.array_equal(values[row], np.float32(restored))


@pytest.mark.slow
def test_small_squares_underflow_and_choose_another_candidate():
    x = jnp.asarray(np.float32(np.random.default_rng(0).normal(0, 0.005, (64, 128))))
    exact, half = (
        quantize(x, parse_scheme(name)).arrays["selectors"]
        for name in ("bitmod-fp4", "bitmod-fp4-fp16")
    )
    share = float((np.asarray(exact) != np.asarray(half)).mean())
    assert 0.15 < share < 0.45


@pytest.mark.slow
def test_results_are_the_same_however_they_are_run():
    scheme, x = parse_scheme("bitmod-fp4-s8-ref"), jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, scheme))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, scheme) + 0.0) * 1.0)
    mapped = jax.vmap(lambda row: fake_quantize(row[None], scheme)[0])
    for found in (larger(x), mapped(x)):
        assert np.array_equal(np.asarray(found), expected)


def test_nan_or_overflow_in_fp16_makes_its_group_nan():
    x = X.copy()
    x[2, 5], x[3, 200], x[4, 290] = np.nan, -np.inf, 70000
    values = quantize(jnp.asarray(x), parse_scheme("bitmod-fp3-fp16")).dequantize()
    bad = np.zeros(x.shape, bool)
    bad[2, :128] = bad[3, 128:256] = bad[4, 256:] = True
    assert np.array_equal(np.isnan(np.asarray(values)), bad)


def test_nan_or_overflow_in_fp16_makes_its_row_nan_where_scales_are_codes():
    x = CODED_X.copy()
    x[1, 5], x[2, 20], x[3, 30] = np.nan, -np.inf, 70000
    is_nan = np.isnan(np.asarray(quantize(jnp.asarray(x), CODED).dequantize()))
    assert np.array_equal(is_nan, np.broadcast_to([[False], [True], [True], [True]], x.shape))


def test_a_group_without_a_candidate_is_zeros():
    # The length of the published vector, so that its compiled program is reused.
    x = np.zeros((1, len(C)), np.float32)
    x[0, :4] = 60000.0, 41000.0, -29000.0, 9000.0
    q = quantize(jnp.asarray(x), BitModHalf(weight_bits=3, size=len(C)))
    assert not np.asarray(q.dequantize()).any()


def test_bits_and_bad_widths():
    with pytest.raises(ValueError, match="3 or 4 bits, not 5"):
        BitModHalf(weight_bits=5)
    with pytest.raises(ValueError, match="2 to 8 bits, not 9"):
        BitModHalf(weight_bits=4, scale_bits=9)
    bits = parse_scheme("bitmod-fp4-s8-ref").bits_per_weight((64, 4096))
    assert bits == 4 + (8 + 2) / 128 + 2 * 16 / 4096
