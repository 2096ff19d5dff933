"""The rounder of OliVe: pairs of two normal values, or of an outlier and its victim."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.division import multiply
from numerics.mixtures.olive import OUTLIERS, Olive
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
from numerics.solvers.loop import product

#: Factors on a row's scale that the weighted search tries; 1 comes first and wins ties.
FACTORS = (1.0, *(1 - i / 20 for i in range(1, 11)), *(1 + i / 20 for i in range(1, 11)))


@dataclass(frozen=True, slots=True)
class PairRounder:
    """Pairs take the choice of least loss: both normal, left outlier or right outlier.

    The victim becomes zero, so that its whole weight is an error; the loss of the pair has the
    feedback of the left value to the right one.
    """

    unit: ClassVar[int] = 2

    scheme: Olive

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the scales of rows."""
        scales: Side = self.scheme.quantize(weight).scales
        if importance is None:
            return scales
        found: Side = _fit(weight, importance, scales, self)
        return found

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return the scales, and which pairs are whole; an unpaired value is not an outlier."""
        count = -(-shape[1] // 2)
        return Spread(side, 2 * jnp.arange(count) + 1 < shape[1])

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return codes and values of one pair."""
        normal, outlier = _tables(self.scheme)
        left, right = target
        zero = jnp.zeros_like(left)

        def moved(value: Array) -> Array:
            # An error of the left value is fed back to the right one.
            gain = root[0, 1] / jnp.where(root[1, 1] > 0, root[1, 1], 1)
            fed: Array = right + (left - value) * gain
            return fed

        mark = self.scheme.mark
        first, first_value = _nearest(left, normal, shared, mark, 0)
        second, second_value = _nearest(moved(first_value), normal, shared, mark, 0)
        big, big_value = _nearest(left, outlier, shared, mark, 1)
        last, last_value = _nearest(moved(zero), outlier, shared, mark, 1)
        victim = jnp.full_like(first, mark)
        codes = jnp.stack(
            [jnp.stack(pair) for pair in ((first, second), (big, victim), (victim, last))]
        )
        values = jnp.stack(
            [
                jnp.stack(pair)
                for pair in ((first_value, second_value), (big_value, zero), (zero, last_value))
            ]
        )
        errors = jnp.einsum("ab,cao->cbo", root, target - values, precision="highest")
        losses = jnp.sum(errors * errors, axis=1)
        losses = jnp.where((jnp.arange(3) > 0)[:, None] & ~of_unit, jnp.inf, losses)
        best = jnp.argmin(losses, axis=0)[None, None]
        chosen, found = (jnp.take_along_axis(a, best, axis=0)[0] for a in (codes, values))
        return chosen, found

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return the quantized tensor of these codes and scales."""
        arrays = {"codes": by_value(codes, shape), "scales": side}
        return QuantizedTensor(arrays=arrays, scheme=self.scheme, shape=shape)


def _tables(scheme: Olive) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the magnitudes of normal values, and those of outliers."""
    return tuple(map(float, scheme.magnitudes)), tuple(map(float, OUTLIERS[scheme.bits]))


def _nearest(
    target: Float32[Array, " out"],
    magnitudes: tuple[float, ...],
    scales: Float32[Array, " out"],
    mark: int,
    first: int,
) -> tuple[Array, Float32[Array, " out"]]:
    """Return the code of the nearest magnitude with the sign of the target, and the value.

    The code is the index from ``first`` on; the code of zero has no sign.
    """
    size = jnp.abs(target) / scales
    middles = [(low + high) / 2 for low, high in pairwise(magnitudes)]
    index: Int32[Array, " out"] = sum(
        ((size > np.float32(middle)).astype(jnp.int32) for middle in middles),
        jnp.zeros(target.shape, jnp.int32),
    )
    number = jnp.asarray(np.array(magnitudes, np.float32))[index]
    is_negative = (target < 0) & (number > 0)
    code = (index + first) | jnp.where(is_negative, mark, 0)
    value = multiply(jnp.where(is_negative, -number, number), scales)
    return code.astype(jnp.uint8), value


@partial(jax.jit, static_argnames="rounder")
def _fit(
    weight: Matrix,
    importance: Importance,
    scales: Float32[Array, " out"],
    rounder: PairRounder,
) -> Float32[Array, " out"]:
    """Return the scale of least weighted error of each row, without feedback in pairs."""
    rows, width = weight.shape
    padding = width % 2
    pairs = jnp.pad(weight, ((0, 0), (0, padding))).T.reshape(-1, 2, rows)
    roots = jax.vmap(jnp.diag)(jnp.sqrt(jnp.pad(importance, (0, padding))).reshape(-1, 2))
    whole = rounder.spread(scales, weight.shape).by_unit

    def errors_of(tried: Array) -> Array:
        _, values = jax.vmap(rounder.round, (0, None, 0, 0))(pairs, tried, whole, roots)
        errors = jax.vmap(product)(roots, pairs - values)
        return jnp.sum(errors * errors, axis=(0, 1))

    def attempt(best: tuple[Array, Array], factor: Array) -> tuple[Any, None]:
        tried = scales * factor
        errors = errors_of(tried)
        is_better = errors < best[1]
        return (jnp.where(is_better, tried, best[0]), jnp.where(is_better, errors, best[1])), None

    start = scales, errors_of(scales)
    (found, _), _ = lax.scan(attempt, start, jnp.asarray(FACTORS[1:], jnp.float32))
    return found
