"""The rounder of vectors along a row: E8P and additive codebooks (AQLM).

A unit of eight columns takes the sum of entries that is nearest in the metric of its loss, ``(t -
v) D_GG (t - v)^T``. The feedback by blocks is that of QuIP# (arXiv:2402.04396, block LDLQ), which
takes the nearest point in the plain distance.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.division import divide
from numerics.codebooks import e8p
from numerics.codebooks.additive import DIMENSION, Additive
from numerics.codebooks.e8p_scheme import E8P, RESIDUAL_SCALES, Stage
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Importance, Matrix, Root, Side, Spread, Unit
from numerics.solvers.loop import product
from numerics.solvers.vector_search import nearest_sums, train

#: Distance in which the nearest vector is taken: that of the loss, or the plain one.
Metric = Literal["loss", "plain"]


@dataclass(frozen=True, slots=True)
class VectorRounder:
    """Vectors of eight columns under fixed codebooks and scales of rows."""

    unit: ClassVar[int] = DIMENSION

    scheme: Additive | E8P
    metric: Metric = "loss"

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the scales of rows, and the codebooks if the scheme trains them."""
        found = self.scheme.quantize(weight).arrays
        side = {name: array for name, array in found.items() if not name.startswith("codes")}
        if "codebooks" in found:
            side["codebooks"] = found["codebooks"]
            if importance is not None:
                side["codebooks"] = _trained(weight, importance, side)
        return side

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return codebooks and scales; units have no side data."""
        return Spread((side, _tables(side, self.scheme)), ())

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return one code for each codebook (or stage), and the values."""
        del of_unit
        side, tables = shared
        vectors = _normalized(target.T, side["scales"])
        if self.metric == "loss":
            vectors, tables = product(vectors, root), [product(t, root) for t in tables]
        codes = jnp.stack(nearest_sums(vectors, tables), axis=-1)
        shape = (target.shape[1], DIMENSION)
        return codes, self.tensor(codes[None], side, shape).dequantize().T

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the quantized tensor of these codes and this side data."""
        fields = {field.name: field for field in self.scheme.layout(shape)}
        by_row = jnp.moveaxis(codes, 0, 1)
        if isinstance(self.scheme, Additive):
            arrays = {"codes": by_row}
        else:
            names = [name for name in fields if name.startswith("codes")]
            arrays = {name: by_row[..., number] for number, name in enumerate(names)}
        arrays = {name: array.astype(fields[name].dtype) for name, array in arrays.items()}
        return QuantizedTensor(arrays={**arrays, **side}, scheme=self.scheme, shape=shape)


def _normalized(vectors: Float32[Array, "out d"], scales: Array) -> Float32[Array, "out d"]:
    """Return rows divided by their scales; zeros where the scale is 0 or NaN."""
    by_row = scales.astype(jnp.float32)[:, None]
    is_usable = by_row > 0
    return jnp.where(is_usable, vectors / jnp.where(is_usable, by_row, 1), 0)


def _tables(side: Side, scheme: Additive | E8P) -> list[Array]:
    """Return the entries of each codebook or stage in units of a row's scale."""
    if isinstance(scheme, Additive):
        return list(side["codebooks"].astype(jnp.float32))
    tables, factor = [], np.float32(1)
    for number, stage in enumerate(scheme.stages):
        quarters = e8p.points() if stage is Stage.E8P else 2 * e8p.e81b_points()
        factor = factor * (np.float32(RESIDUAL_SCALES[stage]) if number else np.float32(1))
        points = jnp.asarray(quarters.astype(np.float32) * np.float32(0.25))
        tables.append(divide(points, float(factor)))
    return tables


def _trained(weight: Matrix, importance: Importance, side: Side) -> Array:
    """Return the codebooks trained further with the weights of columns and rows."""
    padding = -weight.shape[1] % DIMENSION
    scales = side["scales"].astype(jnp.float32)
    rows = jnp.pad(_normalized(weight, side["scales"]), ((0, 0), (0, padding)))
    # The squared error of a row's vectors counts with the square of its scale.
    of_rows = jnp.where(jnp.isnan(scales), 0, scales) ** 2
    weights = jnp.pad(importance, (0, padding)) * of_rows[:, None]
    weights = weights / jnp.maximum(jnp.max(weights), 1e-30)
    left, weights = (array.reshape(-1, DIMENSION) for array in (rows, weights))
    trained = []
    for table in side["codebooks"]:
        found, owners = train(left, weights, table.astype(jnp.float32))
        stored = jnp.clip(found, -MOST, MOST).astype(table.dtype)
        left = left - stored.astype(jnp.float32)[owners]
        trained.append(stored)
    return jnp.stack(trained)


#: Bound on the entries of a trained codebook; rows are normalized, so that none comes near it.
MOST = math.ldexp(1, 10)
