"""MX blocks by torchao, qwix and brevitas, frozen by ``tests/golden/numerics/make_mx.py``.

Where their float32 logarithms are wrong, the exponent field of the number is the reference.
"""

from pathlib import Path

import numpy as np
import pytest

from numerics import parse_scheme, quantize

FILE = Path(__file__).parents[2] / "golden" / "numerics" / "mx.npz"
BLOCK = 32
LARGEST = {
    "mxfp4": 6.0,
    "mxfp6_e2m3": 7.5,
    "mxfp6_e3m2": 28.0,
    "mxfp8_e4m3": 448.0,
    "mxfp8_e5m2": 57344.0,
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


def amaxes(x: np.ndarray) -> np.ndarray:
    return np.abs(x).reshape(len(x), -1, BLOCK).max(axis=-1)


def each(of_blocks: np.ndarray) -> np.ndarray:
    """Repeat the number of each block for its elements."""
    return np.repeat(of_blocks, BLOCK, axis=-1)


def is_hair_above(amax: np.ndarray, largest: float) -> np.ndarray:
    """Whether a block's largest number is just above ``largest`` times a power of two."""
    mantissas = np.frexp(amax / largest)[0]
    return (mantissas > 0.5) & (mantissas < 0.5 + 2**-20)


@pytest.mark.parametrize("element", LARGEST)
@pytest.mark.parametrize("mode", ["floor", "ceil", "even"])
def test_scales_and_codes_are_those_of_torchao(golden, element, mode):
    ours = quantize(golden["x"], parse_scheme(f"{element}-{mode}".removesuffix("-floor")))
    theirs = f"torchao/{element}-{mode}"
    assert np.array_equal(np.asarray(ours.scales).view(np.uint8), golden[f"{theirs}/scales"])
    assert np.array_equal(ours.codes, golden[f"{theirs}/codes"])


@pytest.mark.parametrize("element", LARGEST)
def test_torchaos_rceil_is_one_too_low_a_hair_above_the_largest_value(golden, element):
    x, theirs = golden["x"], f"torchao/{element}-rceil"
    ours = quantize(x, parse_scheme(f"{element}-rceil"))
    scales = np.asarray(ours.scales).view(np.uint8).astype(int)
    differs = scales != golden[f"{theirs}/scales"]
    assert differs.any() and is_hair_above(amaxes(x)[differs], LARGEST[element]).all()
    assert (scales[differs] == golden[f"{theirs}/scales"][differs] + 1).all()
    # torchao saturates, qsim does not: the defined scale is large enough for every element.
    held = 2.0 ** (scales - 127) * LARGEST[element]
    assert (amaxes(x) <= held).all()
    same = ~each(differs)
    assert np.array_equal(np.asarray(ours.codes)[same], golden[f"{theirs}/codes"][same])


@pytest.mark.parametrize("element", ["mxfp4", "mxfp8_e4m3"])
def test_qwix_takes_rceil_but_for_zeros_and_hairs(golden, element):
    x, theirs = golden["x"], golden[f"qwix/{element}/scales"]
    ours = quantize(x, parse_scheme(f"{element}-rceil"))
    scales = np.asarray(ours.scales).view(np.uint8)
    differs = scales != theirs
    amax = amaxes(x)
    assert (theirs[amax == 0] == 127).all() and (scales[amax == 0] == 0).all()
    assert is_hair_above(amax[differs & (amax > 0)], LARGEST[element]).all()
    elements = np.asarray(ours.dequantize()) / each(2.0 ** (scales.astype(float) - 127))
    same = ~each(differs)
    assert np.array_equal(elements[same], golden[f"qwix/{element}/elements"][same])


def test_brevitas_takes_floor_but_for_the_exponent_just_below_powers_of_two(golden):
    x, theirs = golden["x"], golden["brevitas/mxfp8_e4m3/values"]
    ours = np.asarray(quantize(x, parse_scheme("mxfp8_e4m3")).dequantize())
    in_block = (ours != theirs).reshape(len(x), -1, BLOCK).any(axis=-1)
    mantissas = np.frexp(amaxes(x))[0]
    assert in_block.any() and (mantissas[in_block] == 1 - 2.0**-24).all()
    # brevitas computes the right exponent for some of the blocks with this mantissa.
    assert (mantissas == 1 - 2.0**-24).sum() > in_block.sum()
