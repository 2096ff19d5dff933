"""The rounder of tables of rows: k-means weighted by the Hessian's diagonal.

SqueezeLLM (arXiv:2306.07629) weights each value by its sensitivity; here the weight of a value is
the diagonal entry of its column. Training starts from the scheme's own table.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.codebooks.kmeans import KMeans
from numerics.solvers.contract import Importance, Matrix, Side
from numerics.solvers.table_rounder import TableRounder
from numerics.structures.any_precision import SEED_BITS, AllPrecisions, AnyPrecision

#: Rounds of Lloyd's algorithm.
ROUNDS = 20

Centers = Float32[Array, "rows count"]
#: Centers with one more bit: twice as many.
Finer = Float32[Array, "rows finer"]
Owners = Int32[Array, "rows n"]


@dataclass(frozen=True, slots=True)
class LookupRounder(TableRounder):
    """The rounder of a table of values for each row, with weighted training."""

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the tables of rows: those of the scheme, trained further with weights."""
        side = dict(self.scheme.quantize(weight).arrays)
        del side["codes"]
        if importance is None:
            return side
        if isinstance(self.scheme, KMeans):
            table = side["codebook"]
            centers = train(weight, importance, table.astype(jnp.float32))
            return {"codebook": _stored(centers, table)}
        nested = AllPrecisions().quantize(weight).arrays
        return _nested(weight, importance, side, nested, self.scheme)


@jax.jit
def train(weight: Matrix, importance: Importance, start: Centers) -> Centers:
    """Return the centers of each row after Lloyd's algorithm with weighted means, ascending."""

    def move(centers: Centers, _: None) -> tuple[Centers, None]:
        middles = (centers[:, 1:] + centers[:, :-1]) * 0.5
        owners = jax.vmap(jnp.searchsorted)(middles, weight)
        return _means(weight, importance, owners.astype(jnp.int32), centers), None

    centers, _ = lax.scan(move, start, None, length=ROUNDS)
    return jnp.sort(centers, axis=1)


@partial(jax.jit, static_argnames="scheme")
def _nested(
    weight: Matrix,
    importance: Importance,
    side: Side,
    nested: Side,
    scheme: AnyPrecision | AllPrecisions,
) -> Side:
    """Return tables in which the upper bits of a code are the code of a lower precision."""
    found = {}
    owners = jnp.zeros(weight.shape, jnp.int32)
    names = [name for name in nested if name.startswith("codebook_")]
    for bits, name in enumerate(sorted(names), SEED_BITS):
        start = nested[name].astype(jnp.float32)
        if bits == SEED_BITS:
            centers = train(weight, importance, start)
            middles = (centers[:, 1:] + centers[:, :-1]) * 0.5
            owners = jax.vmap(jnp.searchsorted)(middles, weight).astype(jnp.int32)
        else:
            centers, owners = _split(weight, importance, owners, centers)
        found[name] = _stored(centers, nested[name])
    if isinstance(scheme, AllPrecisions):
        return found
    return {"codebook": found[f"codebook_{scheme.bits}"].astype(side["codebook"].dtype)}


def _split(
    weight: Matrix, importance: Importance, parents: Owners, centers: Centers
) -> tuple[Finer, Owners]:
    """Cut each cluster in two by Lloyd's algorithm inside the cluster."""
    spread = jnp.sqrt(
        _means(
            (weight - jnp.take_along_axis(centers, parents, 1)) ** 2,
            importance,
            parents,
            jnp.zeros_like(centers),
        )
    )
    start = jnp.stack([centers - spread, centers + spread], axis=2)

    def owners_of(pairs: Array) -> Owners:
        middles = jnp.take_along_axis(pairs.mean(axis=2), parents, axis=1)
        return 2 * parents + (weight > middles)

    def move(pairs: Array, _: None) -> tuple[Array, None]:
        flat = pairs.reshape(len(pairs), -1)
        return _means(weight, importance, owners_of(pairs), flat).reshape(pairs.shape), None

    pairs, _ = lax.scan(move, start, None, length=ROUNDS)
    return pairs.reshape(len(pairs), -1), owners_of(pairs)


def _means(values: Matrix, importance: Importance, owners: Owners, centers: Centers) -> Centers:
    """Return weighted means of clusters; a cluster without weight keeps its center."""
    count = centers.shape[1]
    weights = jnp.broadcast_to(importance, values.shape)
    add = jax.vmap(partial(jax.ops.segment_sum, num_segments=count))
    mass, total = add(weights, owners), add(weights * values, owners)
    return jnp.where(mass > 0, total / jnp.where(mass > 0, mass, 1), centers)


def _stored(centers: Centers, like: Array) -> Array:
    """Return centers as finite numbers of the stored type; rows with a NaN keep their table."""
    largest = float(np.finfo(np.float16).max)
    stored = jnp.clip(centers, -largest, largest).astype(like.dtype)
    is_poisoned = jnp.isnan(like).any(axis=1, keepdims=True)
    return jnp.where(is_poisoned, like, stored)
