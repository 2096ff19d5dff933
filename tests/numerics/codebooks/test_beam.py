"""Beam search against the vectors of AQLM's code and exhaustive search."""

import itertools

import numpy as np
import pytest

from numerics.codebooks.beam import _Beam, _pass, beam_search, decode, losses

M, K, J = np.ogrid[:2, :4, :4]
BOOKS = (((7 * K**2 + 13 * M + 5 * J**2 + 3 * K * J + 2 * J) % 17) - 8) / 8
CODES = np.array([[[0, 3], [1, 2]], [[2, 0], [3, 1]]])
SCALES = np.array([0.5, 2.0])
DECODED = [
    [-0.5, -0.125, 0.4375, -0.9375, -0.125, -0.8125, -0.25, 0.5],
    [2, -1.5, 0, 2.25, -0.25, 2, 0.75, 0.25],
]
WEIGHTS = np.array(
    [[-0.9, -0.5, -0.6, -0.2, 0.1, 0.4, 0.2, 0.6], [-3, -2, -2.5, -1.5, 0.9, 1.1, 2, 1.7]]
)
INPUTS = np.array(
    [
        [1, 0, 2, -1, 0, 1, 1, 0],
        [0, 1, 1, 0, 2, -1, 0, 1],
        [1, 1, 0, 0, 1, 0, -1, 2],
        [2, 0, -1, 1, 0, 0, 1, 1],
    ]
)
HESSIAN = INPUTS.T @ INPUTS / 4


def search(hessian, width):
    codes = beam_search(
        WEIGHTS, CODES, codebooks=BOOKS, scales=SCALES, hessian=hessian, width=width
    )
    return codes, losses(WEIGHTS, decode(codes, BOOKS, SCALES), hessian)


def test_codebooks_and_values_are_those_of_the_vector():
    assert (8 * BOOKS[0]).tolist() == [
        [-8, -1, -1, -8],
        [-1, -8, -5, 8],
        [3, -1, 5, 4],
        [4, 3, -5, -3],
    ]
    assert (8 * BOOKS[1, 3]).tolist() == [0, -1, 8, -7]
    assert decode(CODES, BOOKS, SCALES).tolist() == DECODED
    first = losses(WEIGHTS, decode(CODES, BOOKS, SCALES), HESSIAN)
    assert first == pytest.approx([2.418437, 29.481251], abs=1e-6)


@pytest.mark.parametrize(
    ("width", "codes", "expected"),
    [
        (1, [[[1, 3], [3, 2]], [[0, 0], [3, 2]]], [0.465898, 0.815626]),
        (2, [[[0, 0], [3, 2]], [[0, 0], [3, 2]]], [0.035039, 0.815626]),
        (4, [[[0, 0], [3, 2]], [[0, 0], [3, 2]]], [0.035039, 0.815626]),
    ],
)
def test_one_pass_finds_the_published_codes(width, codes, expected):
    found, loss = search(HESSIAN, width)
    assert found.tolist() == codes
    assert loss == pytest.approx(expected, abs=1e-5)  # published numbers come from float32


def test_groups_have_beams_of_their_own_for_the_squared_error_of_weights():
    weights, codes = WEIGHTS.reshape(4, 4), CODES.reshape(4, 1, 2)
    scales = np.repeat(SCALES, 2)
    expected = {1: ([[1, 2], [2, 1]], 1.769063), 2: ([[0, 0], [3, 1]], 0.899531)}
    for width, (first_row, loss) in expected.items():
        found = beam_search(
            weights, codes, codebooks=BOOKS, scales=scales, hessian=np.eye(4), width=width
        )
        errors = losses(weights, decode(found, BOOKS, scales), np.eye(4)).reshape(2, 2).sum(1)
        assert found[:2, 0].tolist() == first_row
        assert errors == pytest.approx([loss, 10.4975], abs=1e-6)


def test_a_wide_beam_is_exhaustive():
    every = np.array(list(itertools.product(range(4), repeat=4))).reshape(-1, 2, 2)
    values = decode(every, BOOKS, np.full(len(every), SCALES[0]))
    every_loss = losses(WEIGHTS[[0] * len(every)], values, HESSIAN)
    _, loss = search(HESSIAN, 256)
    assert loss[0] == pytest.approx(every_loss.min(), abs=1e-12)


def test_a_beam_has_a_width():
    with pytest.raises(ValueError, match=r"^the width of a beam is at least 1, not 0$"):
        search(HESSIAN, 0)


def test_a_beam_of_one_is_the_general_search_with_less_work():
    random = np.random.default_rng(4)
    weights, inputs = random.standard_normal((12, 80 * 8)), random.standard_normal((900, 80 * 8))
    hessian, scales = inputs.T @ inputs / len(inputs), random.uniform(0.5, 2, 12)
    scales[3], scales[4] = 0.0, -1.0
    books, codes = random.standard_normal((2, 32, 8)), random.integers(0, 32, (12, 80, 2))
    found = beam_search(weights, codes, codebooks=books, scales=scales, hessian=hessian, width=1)
    left = weights - decode(codes, books, scales)
    start = _Beam(
        codes[:, None],
        left[:, None],
        losses(weights, decode(codes, books, scales), hessian)[:, None],
    )
    assert np.array_equal(found, _pass(start, books, scales, hessian, 1))
    better = losses(weights, decode(found, books, scales), hessian)
    assert (better[scales != 0] < 0.8 * start.losses[scales != 0, 0]).all()
    half = [np.float32(array) for array in (weights, books, scales, hessian)]
    in_float32 = beam_search(
        half[0], codes, codebooks=half[1], scales=half[2], hessian=half[3], width=1
    )
    almost = losses(weights, decode(in_float32, books, scales), hessian)
    # Float32 sums of 640 terms; the choice between entries of nearly equal loss may differ.
    assert almost == pytest.approx(better, rel=1e-4)
