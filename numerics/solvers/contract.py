"""The interface of a scheme to a column solver: side data first, then codes unit by unit.

A *unit* is the least number of consecutive columns whose codes are chosen together: 1 for schemes
with a code per value, 2 for the pairs of OliVe, 4 for 2:4 sparsity, 8 for E8P and AQLM. ``fit``
finds all side data (scales, zero points, selectors, codebooks); ``spread`` arranges them by unit;
``round`` chooses the codes of one unit; ``tensor`` combines codes with the unchanged side data, so
that nothing is quantized twice.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array
from jaxtyping import Float32, Shaped

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor

Matrix = Float32[Array, "out n"]
#: Diagonal of the Hessian: weight of each column's squared error.
Importance = Float32[Array, " n"]
#: Columns of one unit, each a row of this array.
Unit = Float32[Array, "unit out"]
#: Upper triangular ``R_GG`` of a unit: its part of the loss is ``|(target - value)^T R_GG|^2``.
Root = Float32[Array, "unit unit"]
#: Side data, and codes, as pytrees of arrays.
Side = Any
Codes = Any


class Spread(NamedTuple):
    """Side data in the form that :meth:`Rounder.round` reads."""

    #: Arrays that every unit reads, such as a codebook.
    shared: Side
    #: Arrays whose leading axis runs over the units of a row.
    by_unit: Side


@runtime_checkable
class Rounder(Protocol):
    """A scheme as a column solver sees it; hashable, because it is a static argument of jit."""

    @property
    def scheme(self) -> Scheme:
        """The scheme that codes and side data belong to."""

    @property
    def unit(self) -> int:
        """Number of consecutive columns of a unit."""

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the side data of a matrix.

        With ``importance`` they minimise the weighted squared error, as far as the scheme has
        anything to choose; without it they are those of the scheme's own rule.
        """

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return side data by unit, for rows padded to whole units.

        Raises
        ------
        ValueError
            The value of a code depends on codes of other units.
        """

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return codes and values of one unit."""

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the tensor of codes whose leading axis runs over units, in natural order."""


def by_value(codes: Shaped[Array, "units unit out"], shape: tuple[int, ...]) -> Array:
    """Return codes of single values in the shape of the matrix, without the padding of units."""
    rows, columns = shape
    matrix: Array = codes.reshape(-1, rows)[:columns].T
    return matrix
