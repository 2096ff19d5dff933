"""Orthogonal matrices Q that rotate rows, ``x @ Q``, in float64: random Hadamard or learned ones.

A rotation narrower than the rows turns consecutive blocks of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8

from numerics.solvers.fast_hadamard import fast_hadamard
from numerics.solvers.hadamard import check_blocks

Rows = Float64[np.ndarray, "*rows n"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hadamard:
    """Signs, then the Hadamard transform of blocks of ``size`` values: ``Q = diag(signs) H^T``."""

    size: int
    #: 1 or -1 for each value of a row; ``None``: all 1.
    signs: Int8[np.ndarray, " n"] | None = None

    def apply(self, rows: Rows) -> Rows:
        """Return ``rows @ Q`` by fast transforms."""
        return fast_hadamard(rows if self.signs is None else rows * self.signs, self.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense:
    """A matrix, which turns each block of as many values as it has rows."""

    matrix: Float64[np.ndarray, "size size"]

    def apply(self, rows: Rows) -> Rows:
        """Return ``rows @ Q`` as a matrix product."""
        result: Rows = (rows.reshape(-1, len(self.matrix)) @ self.matrix).reshape(rows.shape)
        return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """A rotation, and then another one: ``Q = first @ second``."""

    first: "Rotation"
    second: "Rotation"

    def apply(self, rows: Rows) -> Rows:
        """Return ``rows @ Q``."""
        return self.second.apply(self.first.apply(rows))


Rotation = Hadamard | Dense | Product


def random_hadamard(width: int, size: int, seed: tuple[int, ...]) -> Hadamard:
    """Return a Hadamard rotation of ``width`` values in blocks of ``size``, with random signs.

    The signs follow from the numbers of ``seed`` (Philox counters), on every machine alike.

    Raises
    ------
    ValueError
        ``size`` does not divide ``width``, or there is no Hadamard matrix of that order.
    """
    check_blocks(width, size)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    signs = 1 - 2 * generator.integers(0, 2, width, np.int8)
    return Hadamard(size=size, signs=signs.astype(np.int8))
