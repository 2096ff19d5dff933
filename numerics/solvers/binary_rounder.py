"""The rounder of signs with a scale and an offset for each column (FBI-LLM)."""

from dataclasses import dataclass

import jax.numpy as jnp

from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Importance, Matrix, Side, Spread, by_value
from numerics.solvers.table_rounder import TableRounder
from numerics.ternary.schemes import ColumnBinary


@dataclass(frozen=True, slots=True)
class BinaryRounder(TableRounder):
    """Rounding to the nearer of ``offset - scale`` and ``offset + scale`` of a column."""

    scheme: ColumnBinary

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the scales and offsets of columns; the error of a column has one weight."""
        del importance
        side = dict(self.scheme.quantize(weight).arrays)
        del side["signs"]
        return side

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return the two values of each column, and the index of the column."""
        scale, offset = (side[name][0].astype(jnp.float32) for name in ("scales", "offsets"))
        tables = jnp.stack([-scale + offset, scale + offset], axis=1)[..., None]
        return Spread(tables, jnp.arange(shape[1]))

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return packed signs with the scales and offsets."""
        signs = jnp.packbits(by_value(codes, shape), axis=-1, bitorder="little")
        arrays = {"signs": signs, **side}
        return QuantizedTensor(arrays=arrays, scheme=self.scheme, shape=shape)
