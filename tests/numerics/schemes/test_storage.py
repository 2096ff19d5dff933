import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, quantize
from numerics.schemes.scheme import Scheme
from numerics.schemes.storage import from_bytes, stored_bytes, to_bytes

RNG = np.random.default_rng(3)
X = np.float32(RNG.standard_normal((8, 288)) * np.exp2(RNG.integers(-9, 9, (8, 288))))
#: Schemes tested with a shorter last group; others reuse a shape that other tests compile.
SHORTER = ("int2", "int3-asym", "fp6_e2m3", "int4-vs", "bitmod-fp3", "kmeans3")


def bits(array):
    return np.asarray(array).view(f"u{array.dtype.itemsize}")


KINDS = {type(scheme): name for name, scheme in reversed(SCHEMES.items())}
#: Schemes whose search compiles for seconds; smaller members of their families are tested.
LONG = ("any-precision",)
#: One scheme of each kind; others differ in the number and bits of their arrays.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in KINDS.values() or name in LONG))
    for name in SCHEMES
]


@pytest.mark.parametrize("name", NAMES)
def test_every_scheme_comes_back_bit_for_bit(name):
    q = quantize(jnp.asarray(X if name in SHORTER else X[:, :256]), SCHEMES[name])
    packed = to_bytes(q)
    back = from_bytes(q.scheme, q.shape, packed)
    assert back.arrays.keys() == q.arrays.keys()
    for key, array in q.arrays.items():
        assert back.arrays[key].dtype == array.dtype
        assert np.array_equal(bits(back.arrays[key]), bits(array)), key
    stored = 8 * sum(array.size for array in packed.values())
    assert stored == Scheme.stored_bits(q.scheme, q.shape)


def test_sizes_are_those_of_the_layout():
    scheme = parse_scheme("int3-asym")
    fields = {field.name: stored_bytes(field) for field in scheme.layout((3, 288))}
    assert fields == {"codes": 324, "scales": 18, "zero_points": 4}


def test_wrong_arrays_are_refused():
    scheme = parse_scheme("fp4")
    packed = to_bytes(quantize(jnp.asarray(X[:3]), scheme))
    with pytest.raises(ValueError, match=r"^fp4_e2m1:g128:fp16 stores codes, scales, not codes$"):
        from_bytes(scheme, (3, 288), {"codes": packed["codes"]})
    message = (
        r"^codes of fp4_e2m1:g128:fp16 for a tensor of shape \[3, 288\] take 432 bytes, not 431$"
    )
    with pytest.raises(ValueError, match=message):
        from_bytes(scheme, (3, 288), packed | {"codes": packed["codes"][1:]})
