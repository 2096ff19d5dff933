"""Fresh groups: the side data of a group are fitted when the column loop reaches the group.

They are found from the weights as they are then, with the feedback of all earlier columns. The
group's columns minimise the loss given the errors before them at ``w_G + sum_{i<G} (w_i - q_i)
(R_iG R_GG^-1)``, which are the updated weights of the original GPTQ loop.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Float, Float32

from numerics.schemes.scheme import Scheme
from numerics.solvers.contract import Importance, Matrix, Rounder, Side, Spread
from numerics.solvers.element_rounder import ElementRounder
from numerics.solvers.gguf_rounder import GgufRounder
from numerics.solvers.hessian import Factor, Order
from numerics.solvers.loop import Columns, Swept, inside, product
from numerics.solvers.rounder import rounder_of
from numerics.solvers.table_rounder import TableRounder


def check_fresh(scheme: Scheme, shape: tuple[int, ...], order: Order) -> None:
    """Raise :class:`ValueError` unless groups of the scheme can be fitted one after the other."""
    if order == "activation":
        raise ValueError(
            "groups=fresh fits a group when its first column is reached, but order=activation "
            "takes the columns of a group apart; take order=group or order=natural"
        )
    rounder = rounder_of(scheme, shape)
    size = scheme.group_size
    has_groups = size is not None
    if has_groups and type(rounder) is TableRounder:
        lead = (*shape[:-1], -(-shape[-1] // (size or 1)))
        sides = [field for field in scheme.layout(shape) if field.name != "codes"]
        has_groups = all(field.shape == lead for field in sides)
    if not has_groups or type(rounder) not in (ElementRounder, GgufRounder, TableRounder):
        raise ValueError(
            f"groups=fresh needs a scheme whose groups of columns have side data of their own, not "
            f"{scheme.name}; take groups=static"
        )


def sweep_fresh(
    weight: Matrix, importance: Importance | None, factor: Factor, rounder: Rounder
) -> tuple[Swept, Side]:
    """Round all columns, in the order of the solver; return also the side data found."""
    size, width = rounder.scheme.group_size, weight.shape[1]
    assert size is not None
    columns = weight.T[jnp.asarray(factor.order)]
    feedback, roots = (jnp.asarray(part) for part in factor.units(1))
    tensor_scale = None
    if isinstance(rounder, ElementRounder):
        tensor_scale = rounder.fit(weight, None)[1]
    difference = jnp.zeros_like(columns)
    sides: dict[int, Side] = {}
    parts: list[tuple[Any, Array, Array]] = []
    for start in range(0, width, size):
        group = slice(start, min(start + size, width))
        original = factor.order[group]
        ordered = np.argsort(original)
        gain = jnp.asarray(_gain(factor.root, group))
        updated = _updated(columns[group], gain, difference)[ordered].T
        weights = None if importance is None else importance[original[ordered]]
        if isinstance(rounder, ElementRounder):
            side = rounder.fit_groups(updated, weights, tensor_scale)
        else:
            side = rounder.fit(updated, weights)
        places = jnp.asarray(np.argsort(ordered))
        shared, by_unit = rounder.spread(side, updated.shape)
        spread = Spread(shared, jax.tree.map(lambda leaf, p=places: leaf[p], by_unit))
        within, *found = _inside(
            columns[group], feedback[:, group], difference, start, spread, roots[group], rounder
        )
        difference = difference.at[group].set(within)
        sides[int(original.min()) // size] = side
        parts.append((found[0], found[1], found[2]))
    codes, values, losses = zip(*parts, strict=True)
    swept = Swept(
        jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *codes),
        jnp.concatenate(values),
        jnp.sum(jnp.stack(losses), axis=0),
    )
    return swept, _joined([sides[number] for number in sorted(sides)])


def _gain(root: Float[np.ndarray, "n n"], group: slice) -> Float32[np.ndarray, "n group"]:
    """Return ``R_iG R_GG^-1`` for the rows before the group, zeros from there on."""
    gain = np.zeros((len(root), group.stop - group.start), np.float32)
    above = root[: group.start, group]
    gain[: group.start] = scipy.linalg.solve_triangular(root[group, group], above.T, trans="T").T
    return gain


@jax.jit
def _updated(columns: Columns, gain: Array, difference: Array) -> Columns:
    return columns + product(gain.T, difference)


@partial(jax.jit, static_argnames="rounder")
def _inside(
    columns: Columns,
    feedback: Float32[Array, "all group"],
    difference: Float32[Array, "all out"],
    start: int | Array,
    spread: Spread,
    roots: Float32[Array, "units unit unit"],
    rounder: Rounder,
) -> tuple[Columns, Any, Columns, Float32[Array, " out"]]:
    shifted = columns + product(feedback.T, difference)
    own = jax.lax.dynamic_slice_in_dim(feedback, start, len(columns))
    return inside(columns, shifted, own, spread, roots, rounder)


def _joined(sides: list[Side]) -> Side:
    """Return the side data of all groups; what has no axis of groups is the same in each."""

    def join(*leaves: Array) -> Array:
        return leaves[0] if leaves[0].ndim < 2 else jnp.concatenate(leaves, axis=1)

    return jax.tree.map(join, *sides)
