"""The Hessian of a layer's output error, damped, ordered and factorised in float64.

For ``y = W x`` and quantized weights ``W + D`` the squared error of the outputs over the
calibration tokens is ``tr(D H D^T)`` with ``H = X^T X``, up to a factor that doesn't change codes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

#: Order in which columns are rounded. ``"natural"``: as stored. ``"activation"``: by descending
#: diagonal of the Hessian. ``"group"``: by descending diagonal inside each group, groups by their
#: largest diagonal entry, so that groups stay whole (GPTQModel's GAR).
Order = Literal["natural", "activation", "group"]

#: Factor by which the damping grows until the factorisation succeeds, and the number of tries.
DAMPING_STEP, DAMPING_TRIES = 10.0, 8


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
    dead: Bool[np.ndarray, " n"]
    #: Damping that the factorisation needed, relative to the mean of the live diagonal.
    damping: float

    @property
    def feedback(self) -> Float[np.ndarray, "n n"]:
        """``A`` of ``H = (I + A) D (I + A)^T``: strictly upper triangular, columns in ``order``."""
        return np.triu(self.root / np.diag(self.root), 1)


def factorize(
    hessian: Float[np.ndarray, "n n"],
    *,
    damping: float = 0.01,
    order: Order = "activation",
    group_size: int | None = None,
) -> Factor:
    """Return the ordered, damped Cholesky factor of a Hessian.

    Dead columns get the mean of the live diagonal, so that they neither change other columns nor
    enter the damping. If the matrix is not positive definite the damping grows tenfold until it is.

    Examples
    --------
    >>> f = factorize(np.array([[2.0, 1.0], [1.0, 8.0]]), damping=0.0)
    >>> f.order.tolist(), (f.root @ f.root.T).round(12).tolist()
    ([1, 0], [[8.0, 1.0], [1.0, 2.0]])
    """
    matrix = np.array(hessian, np.float64)
    _check(matrix, damping)
    diagonal = np.diag(matrix).copy()
    dead = diagonal == 0
    mean = float(diagonal[~dead].mean()) if not dead.all() else 1.0
    matrix[np.diag_indices_from(matrix)] = np.where(dead, mean, diagonal)
    positions = column_order(diagonal, order, group_size)
    matrix = matrix[np.ix_(positions, positions)]
    for attempt in range(DAMPING_TRIES):
        used = damping * DAMPING_STEP**attempt if damping else attempt and 1e-8 * 10**attempt
        damped = matrix + used * mean * np.eye(len(matrix))
        try:
            # With the flip J: J H J = L L^T, hence H = (J L J)(J L J)^T.
            root = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
        except np.linalg.LinAlgError:
            continue
        return Factor(order=positions, root=root, dead=dead, damping=float(used))
    raise ValueError(
        f"the Hessian is not positive definite even with damping {used:g}; calibrate on more tokens"
    )


def column_order(
    diagonal: Float[np.ndarray, " n"], order: Order, group_size: int | None = None
) -> Int[np.ndarray, " n"]:
    """Return the column at each position; ties go to the lower column, a ragged group stays last.

    Examples
    --------
    >>> column_order(np.array([1.0, 3.0, 2.0, 9.0]), "group", 2).tolist()
    [3, 2, 1, 0]
    """
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
