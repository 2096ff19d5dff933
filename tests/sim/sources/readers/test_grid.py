import numpy as np
import pytest
from _helpers.layouts import values as helper

from numerics.formats import INTEGERS
from numerics.formats import constants as c
from numerics.schemes.granularity import PerChannel, PerGroup, PerTensor
from sim.sources.readers.bit_stream import pack_rows
from sim.sources.readers.grid import Grid
from sim.sources.readers.schemes import stored_scheme


def grid(element, granularity, shape, seed=0):
    random = np.random.default_rng(seed)
    scheme = stored_scheme(element, granularity, "F32")
    codes = random.integers(0, 1 << element.bits, shape).astype(np.uint8)
    side = {"scales": random.random(scheme.scale_shape(shape), np.float32) + 0.1}
    if "zero_points" in {field.name for field in scheme.layout(shape)}:
        side["zero_points"] = random.integers(0, 1 << element.bits, side["scales"].shape, np.uint8)
    stream = pack_rows(codes, element.bits)
    return Grid(scheme=scheme, shape=shape, stream=stream, bits=element.bits, side=side), codes


@pytest.mark.parametrize(
    ("element", "granularity", "shape"),
    [
        (INTEGERS[4, "full"], PerGroup(8), (5, 24)),
        (INTEGERS[4, "unsigned"], PerGroup(8), (5, 21)),  # a shorter last group
        (INTEGERS[3, "unsigned"], PerChannel(), (2, 10)),
        (INTEGERS[2, "full"], PerTensor(), (3, 8)),
        (c.E2M1, PerGroup(16), (2, 32)),
    ],
)
def test_values_are_those_of_the_scheme_and_of_one_element_after_the_other(
    element, granularity, shape
):
    found, codes = grid(element, granularity, shape)
    values = helper(found)
    scales = np.broadcast_to(found.side["scales"], (shape[0], found.side["scales"].shape[1]))
    zeros = found.side.get("zero_points", np.zeros(scales.shape, np.uint8))
    size = found.scheme.group_size or shape[1]
    for (row, column), code in np.ndenumerate(codes):
        group = column // size
        level = np.float32(element.decode(int(code)) - float(zeros[row, group]))
        assert values[row, column] == level * scales[row, group]


def test_rows_of_a_grid_are_rows_of_its_values():
    found, _ = grid(INTEGERS[4, "unsigned"], PerGroup(8), (6, 24))
    part = found.rows(2, 5)
    np.testing.assert_array_equal(part.values(), found.values()[2:5])
    np.testing.assert_array_equal(np.asarray(part.quantized().dequantize()), part.values())
    assert part.quantized().codes.shape == (3, 24)


def test_a_large_matrix_is_decoded_by_threads_as_by_one():
    found, _ = grid(INTEGERS[4, "full"], PerGroup(128), (1100, 1024))
    assert np.prod(found.shape) > 1 << 20
    whole = found.values()
    for start in (0, 500, 1099):
        np.testing.assert_array_equal(whole[start], found.rows(start, start + 1).values()[0])


def test_codes_with_a_negative_scale_are_values_only():
    found, _ = grid(INTEGERS[4, "full"], PerGroup(8), (2, 8))
    found.side["scales"][0, 0] = -1
    assert found.quantized() is None and np.isfinite(found.values()).all()
