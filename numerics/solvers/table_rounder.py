"""The rounder of every scheme with one code per value, by a table of the values of its codes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import (
    Codes,
    Importance,
    Matrix,
    Root,
    Side,
    Spread,
    Unit,
    by_value,
)
from numerics.solvers.side_search import is_searchable, search
from numerics.solvers.tables import (
    code_count,
    column_groups,
    nearest,
    tables_by_column,
    tables_by_group,
    usable,
    values_of,
)

#: Largest number of codes for which a table per column is held; tables per group have no limit.
MOST_CODES = 64


@dataclass(frozen=True, slots=True)
class TableRounder:
    """Rounding to the nearest value in a table of codes; ties to the lower code.

    It serves every scheme with one code for each value whose value depends on side data only:
    mixtures, the integers of libraries, tables with double quantization, and plug-ins. The side
    data are those of ``quantize``, whose steps and selectors a weighted search then improves.
    """

    unit: ClassVar[int] = 1

    scheme: Scheme

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the side data of ``quantize``, improved by :mod:`numerics.solvers.side_search`."""
        side = dict(self.scheme.quantize(weight).arrays)
        del side["codes"]
        if importance is None or not is_searchable(side, self.scheme, weight.shape):
            return side
        if not self._has_tables_by_group(side, weight.shape):
            return side
        return search(weight, importance, side, self.scheme)

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return tables of groups and the group of each column, or else tables of columns."""
        if self._has_tables_by_group(side, shape):
            tables = usable(tables_by_group(side, self.scheme, shape), side, self.scheme)
            return Spread(tables, jnp.asarray(column_groups(self.scheme, shape[1])))
        count = code_count(self.scheme, shape)
        assert count is not None
        if count > MOST_CODES:
            raise ValueError(
                f"{self.scheme.name} has {count} codes whose values differ by column; column "
                f"solvers support up to {MOST_CODES} such codes"
            )
        tables = tables_by_column(side, self.scheme, shape)
        index = np.arange(shape[1])
        if not self._agrees(tables, index, side, shape):
            raise ValueError(depends_on_neighbours(self.scheme))
        return Spread(usable(tables, side, self.scheme), jnp.asarray(index))

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return the code of the nearest value, and the value."""
        del root
        codes, values = nearest(target[0], shared[of_unit])
        return codes[None], values[None]

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""
        arrays = {"codes": by_value(codes, shape), **side}
        return QuantizedTensor(arrays=arrays, scheme=self.scheme, shape=shape)

    def _has_tables_by_group(self, side: Side, shape: tuple[int, ...]) -> bool:
        tables = tables_by_group(side, self.scheme, shape)
        return self._agrees(tables, column_groups(self.scheme, shape[1]), side, shape)

    def _agrees(self, tables: Any, index: np.ndarray, side: Side, shape: tuple[int, ...]) -> bool:
        """Whether tables have the values that a matrix of arbitrary codes has."""
        codes = np.random.Generator(np.random.Philox(0)).integers(
            0, tables.shape[1], shape, np.uint8, endpoint=False
        )
        every = np.broadcast_to(np.asarray(tables), (*tables.shape[:2], shape[0]))
        found = every[index[:, None], codes.T, np.arange(shape[0])].T
        values = np.asarray(values_of(jnp.asarray(codes), side, self.scheme))
        return np.array_equal(found, values, equal_nan=True)


def depends_on_neighbours(scheme: Scheme) -> str:
    """Return the error message for a scheme in which a code's value depends on its neighbours."""
    return (
        f"the value of a {scheme.name} code depends on neighbouring codes; "
        "column solvers need schemes with one independent code per value"
    )
