"""The Hessian of a layer's output error, damped, ordered and factorised in float64.

For ``y = W x`` and quantized weights ``W + D`` the squared error of the outputs over the
calibration tokens is ``tr(D H D^T)`` with ``H = X^T X``, up to a factor that doesn't change codes.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Float32, Int

#: Order in which columns are rounded. ``"natural"``: as stored. ``"activation"``: by descending
#: diagonal of the Hessian. ``"group"``: by descending diagonal inside each group, groups by their
#: largest diagonal entry, so that groups stay whole (GPTQModel's GAR).
Order = Literal["natural", "activation", "group"]

#: Factor by which the damping grows until the factorisation succeeds, and the number of tries.
DAMPING_STEP, DAMPING_TRIES = 10.0, 8
#: Columns that one step of :meth:`Factor.units` converts.
UNITS_AT_ONCE = 256
#: Diagonal of columns that complete the last unit, relative to the mean of the live diagonal.
PADDED = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factor:
    """``H[order][:, order] + damping * mean(diag H) * I = R R^T`` with an upper triangular ``R``.

    ``R = U^-1`` where ``U`` is the upper Cholesky factor of the inverse that the GPTQ paper
    (arXiv:2210.17323, algorithm 1) uses; no inverse is formed.
    """

    #: Column of the matrix at each position of the order.
    order: Int[np.ndarray, " n"]
    #: The factor ``R``, rows and columns in ``order``.
    root: Float[np.ndarray, "n n"]
    #: Columns (not positions) that no calibration token activates.
    dead: Bool[np.ndarray, " columns"]
    #: Damping that the factorisation needed, relative to the mean of the live diagonal.
    damping: float

    @property
    def feedback(self) -> Float[np.ndarray, "n n"]:
        """``A`` of ``H = (I + A) D (I + A)^T``: strictly upper triangular, columns in ``order``."""
        return np.triu(self.root / np.diag(self.root), 1)

    def units(self, size: int) -> "Units":
        """Return the factor by units of ``size`` consecutive positions, in float32.

        It is computed block by block, because the matrices of a wide layer fill the memory.
        """
        count = len(self.root)
        feedback = np.zeros((count, count), np.float32)
        starts = np.arange(0, count, size)
        inside = starts[:, None] + np.arange(size)
        roots = self.root[inside[:, :, None], inside[:, None, :]]
        inverses = np.linalg.inv(roots)
        step = -(-UNITS_AT_ONCE // size)
        for first in range(0, count // size, step):
            columns = slice(first * size, min((first + step) * size, count))
            above = self.root[: columns.stop, columns].reshape(columns.stop, -1, size)
            # A_G = R_above,G R_GG^-1
            found = np.einsum("nug,ugh->nuh", above, inverses[first : first + step])
            feedback[: columns.stop, columns] = found.reshape(columns.stop, -1)
        feedback[inside[:, :, None], inside[:, None, :]] = 0
        return Units(feedback, roots.astype(np.float32))


class Units(NamedTuple):
    """``H = (I + A) D (I + A)^T`` with a strictly upper block-triangular ``A``."""

    #: ``A``: the error of earlier columns times ``A`` is added to later ones.
    feedback: Float32[np.ndarray, "n n"]
    #: Upper triangular ``R_GG`` of each unit, ``D_GG = R_GG R_GG^T``.
    roots: Float32[np.ndarray, "units unit unit"]


def factorize(
    hessian: Float[np.ndarray, "n n"],
    *,
    damping: float = 0.01,
    order: Order = "activation",
    group_size: int | None = None,
    unit: int = 1,
) -> Factor:
    """Return the ordered, damped Cholesky factor of a Hessian.

    Dead columns get the mean of the live diagonal, so that they neither change other columns nor
    enter the damping. Columns that complete the last unit get a diagonal close to zero, so that
    their errors count nothing. If the matrix is not positive definite the damping grows tenfold
    until it is. Beside the Hessian and the factor there is no other matrix in float64.

    Examples
    --------
    >>> f = factorize(np.array([[2.0, 1.0], [1.0, 8.0]]), damping=0.0)
    >>> f.order.tolist(), (f.root @ f.root.T).round(12).tolist()
    ([1, 0], [[8.0, 1.0], [1.0, 2.0]])
    """
    matrix = np.asarray(hessian, np.float64)
    _check(matrix, damping)
    diagonal = np.diag(matrix).copy()
    dead = diagonal == 0
    mean = float(diagonal[~dead].mean()) if not dead.all() else 1.0
    padding = -len(diagonal) % unit
    padded = np.pad(diagonal, (0, padding), constant_values=PADDED * mean)
    positions = column_order(padded, order, group_size, unit)
    filled = np.where(np.pad(dead, (0, padding)), mean, padded)[positions]
    is_column = positions < len(diagonal)
    for attempt in range(DAMPING_TRIES):
        used = damping * DAMPING_STEP**attempt if damping else attempt and 1e-8 * 10**attempt
        # With the flip J: J H J = L L^T, hence H = (J L J)(J L J)^T.
        flipped = _ordered(matrix, positions[::-1])
        flipped[np.diag_indices_from(flipped)] = (filled + used * mean * is_column)[::-1]
        try:
            # The transpose of a symmetric matrix is in the order of Fortran: factorised in place.
            root = scipy.linalg.cholesky(
                flipped.T, lower=True, overwrite_a=True, check_finite=False
            )[::-1, ::-1]
        except np.linalg.LinAlgError:
            continue
        return Factor(order=positions, root=root, dead=dead, damping=float(used))
    raise ValueError(
        f"the Hessian is not positive definite even with damping {used:g}; calibrate on more tokens"
    )


def _ordered(
    matrix: Float[np.ndarray, "n n"], positions: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m m"]:
    """Return rows and columns in an order; those beyond the matrix are zeros."""
    count = len(matrix)
    if len(positions) == count:
        same: np.ndarray = matrix[np.ix_(positions, positions)]
        return same
    found = np.zeros((len(positions), len(positions)))
    inside = np.flatnonzero(positions < count)
    found[np.ix_(inside, inside)] = matrix[np.ix_(positions[inside], positions[inside])]
    return found


def column_order(
    diagonal: Float[np.ndarray, " n"],
    order: Order,
    group_size: int | None = None,
    unit: int = 1,
) -> Int[np.ndarray, " n"]:
    """Return the column at each position; ties go to the lower column, a ragged group stays last.

    Units of ``unit`` columns stay whole and are ordered by the sums of their diagonals; the number
    of columns is a multiple of ``unit``.

    Examples
    --------
    >>> column_order(np.array([1.0, 3.0, 2.0, 9.0]), "group", 2).tolist()
    [3, 2, 1, 0]
    >>> column_order(np.array([1.0, 3.0, 2.0, 9.0]), "activation", unit=2).tolist()
    [2, 3, 0, 1]
    """
    if unit > 1:
        size = None if group_size is None else _units_of_group(group_size, unit, order)
        by_unit = column_order(diagonal.reshape(-1, unit).sum(axis=1), order, size)
        columns: np.ndarray = (unit * by_unit[:, None] + np.arange(unit)).reshape(-1)
        return columns
    count = len(diagonal)
    if order == "natural":
        return np.arange(count)
    descending = np.argsort(-diagonal, kind="stable")
    if order == "activation":
        return descending
    if group_size is None:
        raise ValueError("order 'group' needs a scheme with groups; take 'activation'")
    groups = np.arange(count) // group_size
    largest = np.array([diagonal[groups == g].max() for g in range(groups[-1] + 1)])
    if count % group_size:
        largest[-1] = -np.inf
    ranks = np.empty(len(largest), int)
    ranks[np.argsort(-largest, kind="stable")] = np.arange(len(largest))
    return descending[np.argsort(ranks[groups[descending]], kind="stable")]


def _units_of_group(group_size: int, unit: int, order: Order) -> int | None:
    """Return the number of units of a group; only order 'group' needs whole units."""
    if group_size % unit and order == "group":
        raise ValueError(
            f"order 'group' needs groups of whole units of {unit} columns, not of {group_size}; "
            "take 'activation'"
        )
    return None if group_size % unit else group_size // unit


def damped_diagonal(hessian: Float[np.ndarray, "n n"], factor: Factor) -> Float[np.ndarray, " n"]:
    """Return the diagonal of the Hessian that was factorised, columns in their original order."""
    diagonal = np.diag(hessian).astype(np.float64)
    mean = float(diagonal[~factor.dead].mean()) if not factor.dead.all() else 1.0
    filled: np.ndarray = np.where(factor.dead, mean, diagonal) + factor.damping * mean
    return filled


def output_error(
    difference: Float[np.ndarray, "out n"], hessian: Float[np.ndarray, "n n"]
) -> float:
    """Return ``tr(D H D^T)`` in float64: the summed squared error of the outputs."""
    d = np.asarray(difference, np.float64)
    return float(np.einsum("oi,oi->", d @ np.asarray(hessian, np.float64), d))


def check_damping(damping: float) -> None:
    """Raise :class:`ValueError` for a damping outside 0 to 1."""
    if not 0 <= damping <= 1:
        raise ValueError(f"damping is {damping:g}; it must lie in 0..1, the usual one is 0.01")


def _check(matrix: Float[np.ndarray, "n n"], damping: float) -> None:
    if not np.isfinite(matrix).all():
        raise ValueError("the Hessian has entries that are not finite; check the activations")
    check_damping(damping)
