"""Search of the side data of any scheme: scales and selectors of least weighted squared error.

The stored arrays themselves are varied: scales by factors, in the format in which they are stored,
and selectors over all candidates. Whatever a scheme stores, the search ends with side data that
exist, whose values come from the scheme's own ``dequantize``.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32

from numerics.schemes.scheme import Scheme
from numerics.solvers.contract import Importance, Matrix, Side
from numerics.solvers.tables import SELECTORS, Tables, group_errors, tables_by_group, usable

#: Names of the arrays that set the step of a group, row or tensor; the first that is stored varies.
STEPS = ("scale_codes", "shifts", "scales")
#: Factors on a step that are tried; 1 comes first and wins ties.
FACTORS = (1.0, *(1 - i / 20 for i in range(1, 11)), *(1 + i / 20 for i in range(1, 7)))
#: Differences of an integer step that are tried as well.
DIFFERENCES = (0, *(0,) * (len(FACTORS) - 5), -1, 1, -2, 2)

#: Errors by group, by row or of the tensor: (groups, out), (1, out) or (1, 1).
Errors = Float32[Array, "groups out"]


def search(weight: Matrix, importance: Importance, side: Side, scheme: Scheme) -> Side:
    """Return side data of at most the weighted error of the given ones.

    Raises
    ------
    KeyError
        The scheme stores no array that :data:`STEPS` names.
    """
    names = [field.name for field in scheme.layout(weight.shape)]
    step = next((name for name in STEPS if name in names), None)
    if step is None:
        return side
    selector = next((name for name in SELECTORS if name in names), None)
    found: Side = _search(weight, importance, side, scheme, step, selector)
    return found


@partial(jax.jit, static_argnames=("scheme", "step", "selector"))
def _search(
    weight: Matrix,
    importance: Importance,
    side: Side,
    scheme: Scheme,
    step: str,
    selector: str | None,
) -> Side:
    rows, width = weight.shape
    bits = {field.name: field.bits for field in scheme.layout(weight.shape)}[step]
    size = scheme.group_size or width

    def tables_of(side: Side) -> Tables:
        return usable(tables_by_group(side, scheme, weight.shape), side, scheme)

    def errors_of(side: Side, like: Array) -> Errors:
        errors = group_errors(weight, importance, tables_of(side), size)
        return _reduced(jnp.where(jnp.isnan(errors), jnp.inf, errors), like, rows, jnp.sum)

    def best_step(side: Side) -> tuple[Side, Errors]:
        """Vary the step of every group (or row) and keep the best."""
        original = side[step]

        def attempt(best: tuple[Array, Errors], number: Array) -> tuple[Any, None]:
            tried = _scaled(original, factors[number], differences[number], bits)
            errors = errors_of({**side, step: tried}, original)
            is_better = errors < best[1]
            chosen = jnp.where(_shaped(is_better, original), tried, best[0])
            return (chosen, jnp.where(is_better, errors, best[1])), None

        factors = jnp.asarray(FACTORS, jnp.float32)
        differences = jnp.asarray(DIFFERENCES, jnp.int32)
        start = original, errors_of(side, original)
        (chosen, errors), _ = lax.scan(attempt, start, jnp.arange(1, len(FACTORS)))
        return {**side, step: chosen}, errors

    if selector is None:
        return best_step(side)[0]
    best: Side = None
    least = jnp.zeros(())
    largest = _largest(tables_of(side), side[step], rows)
    for number in range(len(scheme.formats)):
        given = {**side, selector: jnp.full_like(side[selector], number)}
        # The candidate's step at which its largest value is that of the chosen candidate.
        ratio = largest / _largest(tables_of(given), side[step], rows)
        ratio = jnp.where((ratio > 0) & (ratio < jnp.inf), ratio, 1)
        given[step] = _scaled(side[step], _shaped(ratio, side[step]), jnp.int32(0), bits)
        tried, errors = best_step(given)
        errors = _reduced(errors, side[selector], rows, jnp.sum)
        if best is None:
            best, least = tried, errors
            continue
        is_better = errors < least
        for name in (step, selector):
            spread = jnp.broadcast_to(is_better, _error_shape(side[name], rows))
            best[name] = jnp.where(_shaped(spread, side[name]), tried[name], best[name])
        least = jnp.where(is_better, errors, least)
    return best


def _scaled(steps: Array, factor: Array, difference: Array, bits: int) -> Array:
    """Return steps times a factor in their stored type; integers may differ by a number instead."""
    if steps.dtype == jnp.uint8:
        moved = jnp.round(steps.astype(jnp.float32) * jnp.where(difference == 0, factor, 1))
        moved = moved.astype(jnp.int32) + difference
        return jnp.clip(moved, 0, (1 << bits) - 1).astype(jnp.uint8)
    kind: Any = jnp.finfo(steps.dtype)  # type: ignore[no-untyped-call]
    wide = steps.astype(jnp.float32)
    size = jnp.clip(jnp.abs(wide) * factor, float(kind.smallest_normal), float(kind.max))
    moved = jnp.where((wide == 0) | jnp.isnan(wide), wide, jnp.where(wide < 0, -size, size))
    return moved.astype(steps.dtype)


def _error_shape(like: Array, rows: int) -> tuple[int, int]:
    """Return the shape of the errors of the parts that an array has entries for."""
    if like.size == 1:
        return (1, 1)
    return like.size // rows, rows


def _reduced(errors: Errors, like: Array, rows: int, function: Any) -> Float32[Array, "_ _"]:
    """Return errors summed over what shares an entry of an array; or their maximum."""
    groups, columns = _error_shape(like, rows)
    if groups == 1:
        errors = function(errors, axis=0, keepdims=True)
    return function(errors, axis=1, keepdims=True) if columns == 1 else errors


def _largest(tables: Tables, like: Array, rows: int) -> Errors:
    magnitudes = jnp.max(jnp.where(jnp.isnan(tables), 0, jnp.abs(tables)), axis=1)
    return _reduced(magnitudes, like, rows, jnp.max)


def _shaped(by_group: Array, like: Array) -> Array:
    """Return numbers of shape (groups, out) in the shape of a stored array."""
    return by_group.T.reshape(like.shape)


def is_searchable(side: Side, scheme: Scheme, shape: tuple[int, ...]) -> bool:
    """Whether the arrays to vary have an entry for each group, each row or the tensor."""
    groups = {-(-shape[-1] // (scheme.group_size or shape[-1])), 1}
    arrays = [side[name] for name in (*STEPS, *SELECTORS) if name in side][:1]
    arrays += [side[name] for name in SELECTORS if name in side]
    sizes = [np.prod(array.shape) for array in arrays]
    return bool(sizes) and all(size == 1 or size / shape[0] in groups for size in sizes)
