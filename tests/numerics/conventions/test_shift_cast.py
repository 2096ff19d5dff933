"""The shift cast of FP4 to FP8 against values, published vectors and the array code."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from numerics.conventions import shift_cast_arrays
from numerics.conventions.shift_cast import shift_cast
from numerics.formats import E2M1, E3M4, E4M3, E5M2

DTYPES = {E4M3: ml_dtypes.float8_e4m3fn, E5M2: ml_dtypes.float8_e5m2}
LARGEST_SHIFT = {E4M3: 6, E5M2: 13}


# Vectors of ptq_and_pe_papers, section 4.4.
@pytest.mark.parametrize(
    ("target", "shift", "codes"),
    [
        (E4M3, 0, "0030383C4044484C"),
        (E5M2, 0, "00383C3E40424446"),
        (E4M3, -3, "00182024282C3034"),
        (E5M2, -3, "002C30323436383A"),
        (E4M3, 3, "00485054585C6064"),
        (E5M2, 3, "0044484A4C4E5052"),
        (E4M3, -8, "000102030406080C"),
        (E4M3, -9, "0000010202030406"),
    ],
)
def test_published_vectors(target, shift, codes):
    assert [shift_cast(code, shift, target=target) for code in range(8)] == list(
        bytes.fromhex(codes)
    )


@pytest.mark.parametrize("target", [E4M3, E5M2])
def test_every_code_and_shift_is_the_rounded_product(target):
    shifts = range(-25, LARGEST_SHIFT[target] + 1)
    values = np.float32([[E2M1.decode(c) * 2.0**s for c in range(16)] for s in shifts])
    wanted = values.astype(DTYPES[target]).view(np.uint8)
    found = [[shift_cast(c, s, target=target) for c in range(16)] for s in shifts]
    assert np.array_equal(found, wanted)
    codes = jnp.broadcast_to(jnp.arange(16, dtype=jnp.uint8), values.shape)
    by_code = jnp.broadcast_to(jnp.int32(shifts)[:, None], values.shape)
    assert np.array_equal(shift_cast_arrays.shift_cast(codes, by_code, target=target), wanted)


@pytest.mark.parametrize(("target", "shifts"), [(E4M3, range(-8, 7)), (E5M2, range(-15, 14))])
def test_nothing_is_lost_in_the_stated_range(target, shifts):
    for shift in shifts:
        for code in range(16):
            found = target.decode(shift_cast(code, shift, target=target))
            assert found == E2M1.decode(code) * 2.0**shift
    below = shifts[0] - 1
    assert any(
        target.decode(shift_cast(c, below, target=target)) != E2M1.decode(c) * 2.0**below
        for c in range(8)
    )


def test_arrays_saturate_outside_the_range():
    codes, shifts = jnp.uint8([7, 15, 2, 0]), jnp.int32([7, 2**31 - 1, 9, 40])
    assert shift_cast_arrays.shift_cast(codes, shifts, target=E4M3).tolist() == [
        0x7E,
        0xFE,
        0x7E,
        0,
    ]


@pytest.mark.parametrize(
    ("code", "shift", "target", "message"),
    [
        (7, 7, E4M3, r"6 \* 2\^7 is above 448, the largest fp8_e4m3 value"),
        (0, 0, E3M4, "FP4 is cast to fp8_e4m3 or fp8_e5m2, not fp8_e3m4"),
        (16, 0, E4M3, ".*16.*"),
    ],
)
def test_refusals(code, shift, target, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        shift_cast(code, shift, target=target)
