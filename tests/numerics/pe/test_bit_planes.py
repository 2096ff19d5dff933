"""Bit-plane dot products against weights at the centers of uniform intervals."""

from fractions import Fraction

import numpy as np
import pytest

from numerics.pe import bit_planes
from numerics.pe.bit_planes import largest_plane_sum, plane_dot, weight
from numerics.structures.bit_planes import pack, unpack

PLANES = range(1, 9)


def plane_dots(codes, activations, planes):
    """Return the dot products of rows that are all read in ``planes`` planes."""
    return bit_planes.plane_dots(codes, activations, np.full(len(codes), planes))


def test_weights_are_middles_of_equal_parts_of_the_range():
    for planes in PLANES:
        parts = 2**planes
        for code in range(256):
            part = code * parts // 256
            middle = Fraction(2 * part + 1, 2 * parts) - Fraction(1, 2)
            assert weight(code, planes) * Fraction(1, 2 * parts) == middle


def test_each_plane_halves_the_distance_to_any_weight_of_8_planes():
    for planes in PLANES:
        steps = 2 ** (8 - planes)
        errors = [abs(weight(code, planes) * steps - weight(code, 8)) for code in range(256)]
        assert max(errors) == steps - 1


def test_planes_in_plain_python_and_arrays_give_the_weights_sums():
    random = np.random.default_rng(0)
    codes, activations = random.integers(0, 256, (10, 33)), random.integers(-128, 128, (10, 33))
    for planes in PLANES:
        found = plane_dots(codes, activations, planes)
        for row in range(10):
            values = activations[row].tolist()
            weights = [weight(code, planes) for code in codes[row].tolist()]
            expected = sum(w * a for w, a in zip(weights, values, strict=True))
            assert plane_dot(codes[row].tolist(), values, planes) == found[row] == expected


def test_every_code_and_precision_in_arrays():
    codes = np.arange(256)[:, None]
    for planes in PLANES:
        found = plane_dots(codes, np.ones_like(codes), planes)
        assert found.tolist() == [weight(code, planes) for code in range(256)]


def test_stored_planes_of_a_lower_precision_give_the_same_sum():
    random = np.random.default_rng(1)
    codes = random.integers(0, 256, (4, 64), dtype=np.uint8)
    activations = random.integers(-128, 128, (4, 64))
    stored = pack(codes)
    for planes in PLANES:
        read = unpack(stored[:planes]).astype(int) << (8 - planes)
        assert np.array_equal(
            plane_dots(read, activations, planes), plane_dots(codes, activations, planes)
        )


def test_largest_sums_occur():
    lowest = np.full((1, 128), -128)
    for planes in PLANES:
        largest = largest_plane_sum(planes, 128, 128)
        assert plane_dots(np.zeros((1, 128), int), lowest, planes).item() == largest
        assert plane_dots(np.full((1, 128), 255), lowest, planes).item() == -largest


def test_rows_are_read_in_planes_of_their_own():
    random = np.random.default_rng(2)
    codes, activations = random.integers(0, 256, (8, 16)), random.integers(-128, 128, (8, 16))
    found = bit_planes.plane_dots(codes, activations, np.array(PLANES))
    assert found.tolist() == [
        plane_dot(row.tolist(), values.tolist(), planes)
        for row, values, planes in zip(codes, activations, PLANES, strict=True)
    ]


def test_too_few_and_too_many_planes_are_refused():
    for planes in (0, 9):
        with pytest.raises(ValueError, match=f"1 to 8 planes, not {planes}"):
            plane_dot([0], [0], planes)
        with pytest.raises(ValueError, match=f"1 to 8 planes, not {planes}"):
            plane_dots(np.zeros((1, 1), int), np.zeros((1, 1), int), planes)
