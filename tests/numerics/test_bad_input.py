"""Every scheme on special numbers and unusual arrays: NaN, infinities, subnormals, empty axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, encode, fake_quantize, quantize, round_to
from numerics.formats import E2M1

RNG = np.random.default_rng(8)
SHAPE = (8, 256)
#: GGUF blocks of 32 without poisoning: ggml's comparisons with NaN are reproduced as they are.
WITHOUT_POISON = {"mxfp4-gguf"}
#: Schemes with a scale or offset per column, which need not return zeros for zeros.
BY_COLUMN = {"fbi-binary", "vptq-v8-k256-256", "vptq-v6-k4096-0-o1-v4-k4096"}
#: One scheme of each class by default, but for those that take long to compile or to train.
LONG = ("aqlm-1x16", "any-precision", "e8p")
FIRST = {type(s): name for name, s in reversed(SCHEMES.items()) if not name.startswith(LONG)}
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in FIRST.values())) for name in SCHEMES
]


def normal() -> np.ndarray:
    return RNG.standard_normal(SHAPE).astype(np.float32)


def strange() -> np.ndarray:
    """Zeros of both signs, subnormal numbers, tiny ones, one large one, ties."""
    x = normal()
    x[1], x[2], x[3] = 0.0, x[2] * 2.0**-140, x[3] * 1e-30
    x[4] *= 1e-3
    x[4, 7], x[5] = 1e4, -0.0
    x[6] = np.round(x[6] * 4) / 4
    return x


def spoiled(value: float) -> np.ndarray:
    x = normal()
    x[2, 40] = value
    return x


@pytest.mark.parametrize("name", NAMES)
def test_strange_numbers_have_defined_results(name):
    scheme = SCHEMES[name]
    scheme_is_matrix = not scheme.is_exact
    x = normal() if scheme_is_matrix else strange()
    q = quantize(jnp.asarray(x), scheme)
    values = np.asarray(q.dequantize())
    assert np.isfinite(values).all() and np.array_equal(
        np.asarray(fake_quantize(x, scheme)), values
    )
    if not scheme_is_matrix and name not in BY_COLUMN and scheme.group_size is not None:
        assert not values[[1, 5]].any()
    for field in scheme.layout(SHAPE):
        array = np.asarray(q.arrays[field.name])
        assert array.shape == field.shape
        if array.dtype.kind == "u" and field.bits < 8 * array.dtype.itemsize:
            assert int(array.max()) < 1 << field.bits
    for value in (np.nan, np.inf, -np.inf):
        back = np.asarray(quantize(jnp.asarray(spoiled(value)), scheme).dequantize())
        assert name in WITHOUT_POISON or not np.isfinite(back[2, 40])
    # Where a product overflows the result is infinite or NaN, never a finite number.
    huge = np.clip(normal(), -3, 3) * np.float32(1e38)
    back = np.asarray(quantize(jnp.asarray(huge), scheme).dequantize())
    good = np.isfinite(back)
    assert (np.abs(back.astype(float) - huge)[good] <= 3.01e38).all()
    transposed = np.asfortranarray(x)
    backwards = x[::-1].copy()[::-1]
    for same in (transposed, backwards):
        again = quantize(same, scheme)
        assert all(
            np.array_equal(a, again.arrays[k], equal_nan=a.dtype.kind == "f")
            for k, a in q.arrays.items()
        )


@pytest.mark.parametrize("name", SCHEMES)
def test_other_arrays_are_refused_in_one_line(name):
    scheme = SCHEMES[name]
    for dtype in (np.float64, np.float16, np.int32, np.bool_):
        with pytest.raises(TypeError, match=f"^x is {np.dtype(dtype)}, not float32; convert it"):
            quantize(np.ones(SHAPE, dtype), scheme)
    for shape in ((), (0,), (0, 256), (4, 0)):
        with pytest.raises(ValueError, match=r"has no values along a last axis to quantize$"):
            quantize(np.ones(shape, np.float32), scheme)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.bool_])
@pytest.mark.parametrize("cast", [encode, round_to])
def test_casts_refuse_other_arrays(cast, dtype):
    with pytest.raises(TypeError, match=f"^x is {np.dtype(dtype)}, not float32; convert it"):
        cast(E2M1, np.ones(3, dtype))
    with pytest.raises(TypeError, match=r"^x is int32, not float32"):
        jax.jit(lambda x: cast(E2M1, x))(np.ones(3, np.int32))
