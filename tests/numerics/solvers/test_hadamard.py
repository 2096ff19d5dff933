"""Hadamard matrices: the widths of usual models, and refusal of sizes without a construction."""

import numpy as np
import pytest

from numerics.solvers.hadamard import factor_size, hadamard, paley, paley_field

#: Order of the Paley matrix by width of hidden states and feed-forward layers of public models.
WIDTHS = {
    576: 36, 1536: 12, 768: 12, 3072: 12, 704: 44, 5632: 44, 960: 60, 1152: 36, 9216: 36,
    2560: 20, 5120: 20, 10240: 20, 4864: 76, 6656: 52, 53248: 52, 21504: 84, 11008: 344,
    13824: 108, 6912: 108, 27648: 108, 14336: 28, 28672: 28, 3584: 28, 896: 28, 8960: 140,
    17920: 140, 18944: 148, 29568: 924, 17408: 68, 25600: 100,
}  # fmt: skip


def test_paley_of_three_elements_is_the_one_of_the_literature():
    expected = [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]]
    assert paley(4).tolist() == expected


@pytest.mark.parametrize("order", sorted(set(WIDTHS.values())))
def test_rows_of_every_order_are_orthogonal(order):
    matrix = paley(order).astype(float)
    assert (np.abs(matrix) == 1).all()
    assert (matrix @ matrix.T == order * np.eye(order)).all()


@pytest.mark.parametrize(("width", "order"), WIDTHS.items())
def test_widths_of_public_models_factor(width, order):
    assert factor_size(width) == (order, width // order)


@pytest.mark.parametrize("n", [1, 2, 4, 64, 576, 704, 1536])
def test_rows_of_whole_matrices_are_orthogonal(n):
    matrix = hadamard(n).astype(float)
    assert (matrix @ matrix.T == n * np.eye(n)).all()


def test_a_size_without_a_construction_names_a_block_that_has_one():
    with pytest.raises(ValueError, match=r"no Hadamard matrix of order 13696 .* blocks of 128"):
        factor_size(13696)


@pytest.mark.parametrize("order", [3, 6, 92, 116])
def test_orders_without_a_field_are_refused(order):
    assert paley_field(order) is None
    with pytest.raises(ValueError, match=f"no matrix of order {order}"):
        paley(order)
