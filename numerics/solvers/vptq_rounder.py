"""The rounder of VPTQ: a column is a set of vectors along the rows, rounded with scalar feedback.

Source: VPTQ, arXiv:2409.17066, section 3: columns are ordered, and outlier columns chosen, by their
mean squared input; codebooks are trained with it as the weight.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.division import multiply
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.codebooks.vptq_arrays import SHARPER
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Importance, Matrix, Root, Side, Spread, Unit
from numerics.solvers.vector_search import nearest_sums, train


@dataclass(frozen=True, slots=True)
class VptqRounder:
    """Columns under fixed codebooks, scales, biases and a fixed choice of outlier columns."""

    unit: ClassVar[int] = 1

    scheme: Vptq

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return codebooks, scales, biases and the order of columns."""
        found = self.scheme.quantize(weight).arrays
        side = {name: array for name, array in found.items() if not name.endswith("codes")}
        if importance is None:
            return side
        order = jnp.argsort(-importance, stable=True)
        side["permutation"] = order.astype(side["permutation"].dtype)
        columns = _normalized(weight.T, side["scales"], side["biases"])
        scales = side["scales"].astype(jnp.float32)
        weights = importance * jnp.where(jnp.isnan(scales), 0, scales) ** 2
        special = self.scheme.outlier_columns(weight.shape[1])
        parts = {"": order[special:], "outlier_": order[:special]}
        for prefix, codebook in _codebooks(self.scheme).items():
            chosen = parts["outlier_" if prefix == "outlier_" else ""]
            if prefix != "residual_":
                vectors = _vectors(columns[chosen], codebook.length)
            name = f"{prefix}codebook"
            spread = jnp.repeat(weights[chosen], len(vectors) // len(chosen))[:, None]
            relative = spread / jnp.maximum(jnp.max(spread), 1e-30)
            start = side[name].astype(jnp.float32)
            table, owners = train(vectors, jnp.broadcast_to(relative, vectors.shape), start)
            side[name] = table.astype(side[name].dtype)
            vectors = vectors - side[name].astype(jnp.float32)[owners]
        return side

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return codebooks; scale, bias and kind of each column."""
        special = self.scheme.outlier_columns(shape[1])
        order = side["permutation"].astype(jnp.int32)
        is_outlier = jnp.zeros(shape[1], bool).at[order[:special]].set(True)
        by_column = (side["scales"], side["biases"], is_outlier)
        tables = {
            name: side[f"{name}codebook"].astype(jnp.float32) for name in _codebooks(self.scheme)
        }
        return Spread(tables, by_column)

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return the codes of a column in each codebook, and its values."""
        del root
        scale, bias, is_outlier = of_unit
        columns = _normalized(target, scale[None], bias[None])
        rows = target.shape[1]

        def coded(names: list[str]) -> tuple[dict[str, Array], Array]:
            tables = [shared[name] for name in names]
            vectors = _vectors(columns, tables[0].shape[1])
            codes = nearest_sums(vectors, tables)
            values = tables[0][codes[0]]
            for table, code in zip(tables[1:], codes[1:], strict=True):
                values = values + table[code]
            return dict(zip(names, codes, strict=True)), values.reshape(-1)[:rows]

        codes, values = coded([name for name in shared if name != "outlier_"])
        if "outlier_" in shared:
            special, others = coded(["outlier_"])
            codes, values = codes | special, jnp.where(is_outlier, others, values)
        wide = scale.astype(jnp.float32)
        restored = multiply(values * (1 / SHARPER), wide) + bias.astype(jnp.float32)
        return codes, jnp.where(jnp.isnan(wide), jnp.nan, restored)[None]

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the codes of columns in the stored order, with the side data."""
        special = self.scheme.outlier_columns(shape[1])
        order = side["permutation"].astype(jnp.int32)
        arrays = dict(side)
        for name, found in codes.items():
            columns = order[:special] if name == "outlier_" else order[special:]
            arrays[f"{name}codes"] = found[columns].T
        stored = {
            field.name: arrays[field.name].astype(field.dtype)
            for field in self.scheme.layout(shape)
        }
        return QuantizedTensor(arrays=stored, scheme=self.scheme, shape=shape)


def _codebooks(scheme: Vptq) -> dict[str, Codebook]:
    """Return the codebooks by the prefix of their arrays; a residual follows its main codebook."""
    found = {"": scheme.main}
    if scheme.residual_bits:
        found["residual_"] = Codebook(length=scheme.main.length, bits=scheme.residual_bits)
    if scheme.outlier_codebook is not None:
        found["outlier_"] = scheme.outlier_codebook
    return found


def _normalized(
    columns: Float32[Array, "columns rows"], scales: Array, biases: Array
) -> Float32[Array, "columns rows"]:
    """Return ``(column - bias) / scale`` between 0 and 1 in units of codebooks; 0 if constant."""
    by_column, bias = (a.astype(jnp.float32)[:, None] for a in (scales, biases))
    is_usable = by_column > 0
    parts = (columns - bias) / jnp.where(is_usable, by_column, 1)
    return jnp.where(is_usable, jnp.clip(parts, 0, 1), 0) * SHARPER


def _vectors(columns: Float32[Array, "columns rows"], length: int) -> Float32[Array, "n d"]:
    """Return the vectors of columns, the last one of each padded with zeros."""
    padded = jnp.pad(columns, ((0, 0), (0, -columns.shape[1] % length)))
    vectors: Array = padded.reshape(-1, length)
    return vectors
