"""GPTQ for any scheme: columns are rounded in turn with error feedback from earlier columns.

:mod:`numerics.solvers.loop` has the loop, :mod:`numerics.solvers.contract` what it asks of a
scheme. The matrices that read one input share a factorisation, and one loop where the scheme lets
their rows be stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Int

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Matrix, Rounder, Side, Spread
from numerics.solvers.descent import can_descend, descend, metric_of
from numerics.solvers.fresh import check_fresh, sweep_fresh
from numerics.solvers.hessian import Factor, Order, damped_diagonal, factorize
from numerics.solvers.loop import Swept, sweep
from numerics.solvers.refit import can_refit
from numerics.solvers.refit import refit as refitted
from numerics.solvers.rounder import rounder_of
from numerics.solvers.rows import split_rows
from numerics.solvers.table_rounder import depends_on_neighbours

#: When the side data of a group are fitted: before the first column, or when it is reached.
Groups = Literal["static", "fresh"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Codes of a layer and their loss."""

    weight: QuantizedTensor
    #: ``tr(D H D^T)`` with the damped Hessian: ``sum e^2`` of the column loop.
    loss: float
    #: Damping that the factorisation needed.
    damping: float


def gptq(
    weight: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    order: Order = "activation",
    damping: float = 0.01,
    clip: bool = True,
    groups: Groups = "static",
    refit: bool = True,
    sweeps: int = 0,
) -> Solution:
    """Quantize a matrix with the least change of its layer's outputs.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    hessian : array (in, in)
        ``sum x x^T`` of the layer's inputs; a constant factor doesn't matter.
    scheme : Scheme
        Any scheme that has a rounder; see :func:`numerics.solvers.rounder.rounder_of`.
    order : {"activation", "natural", "group"}
        Order in which columns are rounded; groups stay consecutive in every order.
    damping : float
        Relative to the mean of the Hessian's diagonal.
    clip : bool
        Fit side data by a search weighted with the Hessian's diagonal.
    groups : {"static", "fresh"}
        Side data of a group are fitted before the first column, or when the group is reached.
    refit : bool
        Fit scales again to the codes chosen: those of ternary and binary schemes, and with
        ``sweeps`` those of element schemes.
    sweeps : int
        Visits of all codes by coordinate descent after the column loop, see
        :mod:`numerics.solvers.descent`; schemes of vectors have none.

    Raises
    ------
    ValueError
        The scheme has no rounder, or the Hessian can't be factorised.
    """
    return gptq_layers(
        [weight],
        hessian,
        scheme,
        order=order,
        damping=damping,
        clip=clip,
        groups=groups,
        refit=refit,
        sweeps=sweeps,
    )[0]


def gptq_layers(
    weights: Sequence[Float32[np.ndarray, "_ n"]],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    order: Order = "activation",
    damping: float = 0.01,
    clip: bool = True,
    groups: Groups = "static",
    refit: bool = True,
    sweeps: int = 0,
) -> list[Solution]:
    """Quantize matrices that read the same input, each as :func:`gptq` does alone.

    The Hessian is factorised once. Rows are stacked, so that one loop serves all matrices, unless
    the scheme mixes rows.
    """
    matrices = [np.asarray(weight, np.float32) for weight in weights]
    rounders = [rounder_of(scheme, matrix.shape) for matrix in matrices]
    for matrix in matrices:
        scheme.check_shape(matrix.shape)
        if groups == "fresh":
            check_fresh(scheme, matrix.shape, order)
    factor = factorize(
        hessian,
        damping=damping,
        order=order,
        group_size=scheme.group_size,
        unit=rounders[0].unit,
    )
    # A column that no calibration token activates is zeroed: it would widen its group's range.
    live = [np.where(factor.dead, np.float32(0), matrix) for matrix in matrices]
    importance = jnp.asarray(np.diag(hessian).astype(np.float32)) if clip else None
    inputs = map(jnp.asarray, live if scheme.mixes_rows else [np.concatenate(live)])
    solved = [
        (matrix, rounder, *_solve(matrix, importance, factor, rounder, groups))
        for matrix, rounder in zip(inputs, rounders, strict=False)
    ]
    diagonal, used = damped_diagonal(hessian, factor), factor.damping
    # The factor and the metric of a wide layer don't fit in memory together.
    del factor
    if sweeps and can_descend(rounders[0]):
        metric = metric_of(hessian, diagonal, rounders[0].unit)
        found = [
            descend(matrix, codes, side, metric, rounder, sweeps=sweeps, refit=refit)
            for matrix, rounder, codes, side, _ in solved
        ]
    else:
        found = [
            (rounder.tensor(codes, side, matrix.shape), losses)
            for matrix, rounder, codes, side, losses in solved
        ]
    if not scheme.mixes_rows:
        (tensor, losses), counts = found[0], [len(matrix) for matrix in matrices]
        parts = np.split(losses, np.cumsum(counts)[:-1])
        found = list(zip(split_rows(tensor, counts), parts, strict=True))
    if refit and can_refit(scheme):
        damped = np.array(hessian, np.float64)
        np.fill_diagonal(damped, diagonal)
        found = [
            refitted(tensor, matrix, damped)
            for (tensor, _), matrix in zip(found, live, strict=True)
        ]
    return [
        Solution(weight=tensor, loss=float(losses.sum()), damping=used) for tensor, losses in found
    ]


def _solve(
    weight: Matrix, importance: Array | None, factor: Factor, rounder: Rounder, groups: Groups
) -> tuple[Codes, Side, Float[np.ndarray, " out"]]:
    """Return codes by unit in natural order, side data, and ``sum e^2`` of each row."""
    if groups == "fresh":
        found, side = sweep_fresh(weight, importance, factor, rounder)
    else:
        side = rounder.fit(weight, importance)
        found = _swept(weight, side, factor, rounder)
    codes = _natural(found, side, factor, rounder, weight.shape)
    return codes, side, np.asarray(found.losses, np.float64)


def _swept(weight: Matrix, side: Side, factor: Factor, rounder: Rounder) -> Swept:
    """Round all columns under fixed side data.

    Columns are put in order by NumPy, which needs no compiled program for each shape.
    """
    of_units = _units(factor, rounder)
    spread = rounder.spread(side, weight.shape)
    by_unit = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[of_units]), spread.by_unit)
    padding = len(factor.order) - weight.shape[1]
    columns = np.pad(np.asarray(weight).T, ((0, padding), (0, 0)))[factor.order]
    units = map(jnp.asarray, factor.units(rounder.unit))
    found: Swept = sweep(jnp.asarray(columns), Spread(spread.shared, by_unit), *units, rounder)
    return found


def _natural(
    found: Swept, side: Side, factor: Factor, rounder: Rounder, shape: tuple[int, ...]
) -> Codes:
    """Return the codes in natural order.

    Raises
    ------
    ValueError
        The value of a code depends on its neighbours, so that a column solver can't choose it.
    """
    back = np.argsort(_units(factor, rounder))
    codes: Codes = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[back]), found.codes)
    values = np.asarray(found.values)[np.argsort(factor.order)][: shape[1]].T
    tensor = rounder.tensor(codes, side, shape)
    if not np.array_equal(np.asarray(tensor.dequantize()), values, equal_nan=True):
        raise ValueError(depends_on_neighbours(rounder.scheme))
    return codes


def _units(factor: Factor, rounder: Rounder) -> Int[np.ndarray, " units"]:
    """Return the units of columns in the order of the solver."""
    return factor.order[:: rounder.unit] // rounder.unit
