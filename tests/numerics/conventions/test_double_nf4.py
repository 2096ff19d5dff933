"""Double quantization against its scalar definition and frozen results of bitsandbytes."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, quantize
from numerics.conventions.double_nf4 import BLOCK, DoubleNf4, dynamic_map
from numerics.conventions.double_nf4_arrays import encode_scales
from numerics.conventions.double_nf4_reference import quantize_blocks, scale_of
from numerics.formats import NF4

SCHEME = DoubleNf4()
SHAPES = (260, 8), (3, 136)


@pytest.fixture(scope="module")
def oracles() -> dict[str, np.ndarray]:
    path = Path(__file__).parents[2] / "golden" / "numerics" / "oracles.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def tensors() -> list[np.ndarray]:
    """Return tensors of 260 short blocks (two second-level scales) and of full blocks."""
    rng = np.random.default_rng(10)
    found = []
    for shape in SHAPES:
        normal = rng.standard_normal(shape)
        spread = normal * 2.0 ** rng.integers(-12, 12, (shape[0], 1))
        found += [normal, spread, np.zeros(shape), normal * 2.0**-124, normal * 2.0**124]
        found += [np.where(rng.random(shape) < 0.5, normal, np.inf)]
        found += [rng.standard_normal(shape) for _ in range(6)]
    return [x.astype(np.float32) for x in found]


def bits(x) -> np.ndarray:
    x = np.float32(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


def test_the_map_is_that_of_bitsandbytes(oracles):
    assert np.array_equal(np.float32(dynamic_map().table), oracles["dynamic_map"])


def test_scales_go_to_the_nearest_of_the_map_ties_to_the_lower():
    thresholds = np.float32(dynamic_map().thresholds)
    x = np.concatenate([np.nextafter(thresholds, np.float32(s)) for s in (-2, 2)] + [thresholds])
    found = encode_scales(jnp.asarray(x)[None])[0]
    assert found.tolist() == [dynamic_map().encode(float(v)) for v in x]


def test_arrays_are_the_definition():
    for x in tensors():
        q = quantize(x, SCHEME)
        parts = [
            (row, slice(start, start + BLOCK))
            for row in range(x.shape[0])
            for start in range(0, x.shape[1], BLOCK)
        ]
        with np.errstate(all="ignore"):
            codes, scale_codes, scales, offset = quantize_blocks([x[p].tolist() for p in parts])
            assert np.asarray(q.arrays["scale_codes"]).ravel().tolist() == scale_codes
            assert bits(q.arrays["scale_scales"]).tolist() == bits(scales).tolist()
            assert bits(q.arrays["offset"]) == bits(offset)
            values = np.asarray(q.dequantize())
            for i, part in enumerate(parts):
                assert np.asarray(q.codes)[part].tolist() == codes[i]
                scale = scale_of(scale_codes[i], scales[i // 256], offset)
                wanted = np.float32([NF4.decode(c) for c in codes[i]]) * scale
                wanted[np.abs(wanted) < 2.0**-126] *= 0
                assert np.array_equal(bits(values[part]), bits(wanted))


# The offset is a mean; torch adds its terms in another order.
def test_codes_of_bitsandbytes(oracles):
    for name in ("normal", "tails", "zeros", "tiny", "many"):
        prefix = f"{name}/nf4-dq/"
        theirs = {k.removeprefix(prefix): a for k, a in oracles.items() if k.startswith(prefix)}
        ours = quantize(theirs.get("x", oracles.get(f"{name}/x/x")), SCHEME)
        assert np.array_equal(ours.codes, theirs["codes"])
        assert np.array_equal(ours.arrays["scale_codes"].ravel(), theirs["scale_codes"].ravel())
        np.testing.assert_allclose(ours.arrays["offset"], theirs["offset"], rtol=3e-7)
        scales = [
            scale_of(int(code), *(np.float32(theirs[k].ravel()[i]) for k, i in at))
            for n, code in enumerate(theirs["scale_codes"].ravel())
            for at in [(("scale_scales", n // 256), ("offset", 0))]
        ]
        assert np.array_equal(np.float32(scales), theirs["block_scales"].ravel())


def test_a_reciprocal_makes_other_codes_than_a_quotient(oracles):
    x = oracles["many/nf4-dq/x"]
    plain = quantize(x, SCHEMES["nf4"])
    assert (np.asarray(plain.codes) != oracles["many/nf4-dq/codes"]).sum() > 10


# The offset is 16.675 and t is 83.325. A scale of 0.01 is 0.2 t below the offset; the nearest map
# value is -0.2055, so the dequantized scale is negative.
def test_a_scale_below_zero_turns_the_sign():
    x = np.zeros((1, 6 * BLOCK), np.float32)
    x[0, ::BLOCK] = [0.01] * 5 + [100]
    values = np.asarray(quantize(x, SCHEME).dequantize())[0, ::BLOCK]
    np.testing.assert_allclose(values, [16.675 - 83.325 * 0.20546875] * 5 + [100], rtol=1e-3)
    assert (values[:5] < 0).all()


def test_bits_per_weight():
    assert SCHEME.bits_per_weight((4096, 4096)) == 4 + 8 / 64 + 32 / 64 / 256 + 32 / 4096**2
    assert SCHEME.bits_per_weight((64, 256), kind="index") == 4


def test_texts_and_refusals():
    assert parse_scheme("nf4-dq") == parse_scheme("nf4-dq:g64") == SCHEME
    with pytest.raises(ValueError, match=r"^nf4-dq is defined with blocks of 64, not 32$"):
        parse_scheme("nf4-dq", group_size=32)
