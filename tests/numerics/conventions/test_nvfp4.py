"""NVFP4 of libraries: scalar definition, and where the libraries disagree."""

import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, quantize
from numerics.conventions.nvfp4 import BLOCK, Library, Nvfp4
from numerics.conventions.nvfp4_reference import find_top_scale, quantize_block

SHAPE = (3, 72)


def tensors() -> list[np.ndarray]:
    """Return tensors of one shape, so that each scheme is compiled once."""
    rng = np.random.default_rng(9)
    normal = rng.standard_normal(SHAPE)
    tail = normal * 2.0 ** -rng.integers(0, 17, (*SHAPE[:1], SHAPE[1] // 8)).repeat(8, axis=1)
    found = [normal, tail, np.where(np.arange(72) < 20, 0, normal), np.zeros(SHAPE)]
    found += [rng.choice([6, 5, 3.5, 2.5, 1.75, 1.25, 0.75, 0.25], SHAPE) * np.sign(normal)]
    found += [np.float32(normal).view(np.uint32) // 65536 * 65536, -np.zeros(SHAPE)]
    found[5] = found[5].astype(np.uint32).view(np.float32)
    found += [normal * scale for scale in (2.0**-128, 2.0**-105, 2.0**-112, 2.0**-117, 2.0**125)]
    found += [np.where(np.arange(72) == 3, 3e38, normal), np.where(normal < 0, -1e-12, normal)]
    for value in (np.nan, np.inf, -np.inf):
        found.append(np.where((np.arange(72) == 40) & (normal == normal[2, 40]), value, normal))
    return [x.astype(np.float32) for x in found]


def bits(x) -> np.ndarray:
    x = np.asarray(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


@pytest.mark.parametrize("library", Library)
def test_arrays_are_the_definition(library):
    scheme = Nvfp4(library=library)
    for x in tensors():
        q = quantize(x, scheme)
        top = find_top_scale(x.ravel().tolist(), library)
        assert bits(q.arrays[scheme.layout(SHAPE)[-1].name]) == bits(top)
        values, scales = np.asarray(q.dequantize()), np.asarray(q.scales).view(np.uint8)
        for row in range(SHAPE[0]):
            for block, start in enumerate(range(0, SHAPE[1], BLOCK)):
                part = (row, slice(start, start + BLOCK))
                codes, scale, wanted = quantize_block(x[part].tolist(), top, library)
                assert scales[row, block] == scale
                assert np.asarray(q.codes)[part].tolist() == codes
                assert np.array_equal(bits(values[part]), bits(np.float32(wanted)))


def codes_and_scales(rows, library) -> tuple[np.ndarray, np.ndarray]:
    q = quantize(np.float32(rows), Nvfp4(library=library))
    return np.asarray(q.codes), np.asarray(q.scales).view(np.uint8)


# Scale byte of a block of zeros, from number_formats, section 4.2.
@pytest.mark.parametrize(("library", "byte"), [("torchao", 0x08), ("modelopt", 0x38), ("ct", 0x20)])
def test_a_block_of_zeros(library, byte):
    rows = np.ones((1, 32))
    rows[0, 16:] = 0
    assert codes_and_scales(rows, Library(library))[1][0].tolist() == [0x7E, byte]


@pytest.mark.parametrize(("library", "minus_zero"), [("torchao", 8), ("modelopt", 0), ("ct", 0)])
def test_the_sign_of_zero_and_of_tiny_numbers(library, minus_zero):
    codes, _ = codes_and_scales([[6, 0, -0.0, -1e-9] * 4], Library(library))
    assert codes[0, :4].tolist() == [7, 0, minus_zero, 8]


# A block whose amax is 2^-9 of the tensor's has a subnormal scale; torchao raises it to 2^-6.
def test_only_torchao_has_no_subnormal_scales():
    rows = np.ones((1, 32)) * 2688
    rows[0, 16:] = 6 * 2.0**-9
    scales = {library: codes_and_scales(rows, library)[1][0, 1] for library in Library}
    assert scales == {Library.MODELOPT: 1, Library.TORCHAO: 8, Library.COMPRESSED: 1}


def test_modelopt_is_the_plain_scheme_but_for_the_sign_of_zero():
    plain = SCHEMES["nvfp4"]
    for x in tensors():
        ours, theirs = quantize(x, Nvfp4(library=Library.MODELOPT)), quantize(x, plain)
        assert np.array_equal(
            np.asarray(ours.scales).view(np.uint8), np.asarray(theirs.scales).view(np.uint8)
        )
        changed = np.asarray(ours.codes != theirs.codes)
        assert not x[changed].any() or (np.abs(x[changed]) < 2.0**-126).all()


def test_texts_and_refusals():
    assert parse_scheme("nvfp4-torchao") == Nvfp4(library=Library.TORCHAO)
    assert parse_scheme("nvfp4-ct:g16") == Nvfp4(library=Library.COMPRESSED)
    with pytest.raises(ValueError, match=r"^nvfp4-ct is defined with blocks of 16, not 32$"):
        parse_scheme("nvfp4-ct:g32")
