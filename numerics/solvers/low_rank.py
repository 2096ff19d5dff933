"""Low-rank repair of a quantization error: LoRC, plain and weighted by the Hessian.

LoRC (ZeroQuant-V2, arXiv:2303.08302, and ZeroQuant-FP, arXiv:2307.09782) adds a rank-r matrix to
the quantized weights. The plain form minimises the squared error of the weights. The weighted form
minimises ``tr((E - U V) H (E - U V)^T)``: with ``H = S S^T`` it is the truncated SVD of ``E S``,
exact by the Eckart-Young theorem.
"""

import numpy as np
from jaxtyping import Float


def low_rank_repair(
    error: Float[np.ndarray, "out n"],
    rank: int,
    hessian: Float[np.ndarray, "n n"] | None = None,
    *,
    damping: float = 0.01,
) -> tuple[Float[np.ndarray, "out r"], Float[np.ndarray, "r n"]]:
    """Return ``U`` and ``V`` whose product approximates ``W - W_quantized``, in float64.

    Both factors carry the square root of the singular values.

    Examples
    --------
    >>> u, v = low_rank_repair(np.array([[2.0, 0.0], [0.0, 1.0]]), 1)
    >>> (u @ v).round(12).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    matrix = np.asarray(error, np.float64)
    rows, columns = matrix.shape
    most = min(rows, columns)
    if not 1 <= rank <= most:
        raise ValueError(f"a {rows}x{columns} matrix has ranks 1 to {most}, not {rank}")
    if hessian is None:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        roots = np.sqrt(values[:rank])
        return left[:, :rank] * roots, roots[:, None] * right[:rank]
    root = _root(np.asarray(hessian, np.float64), damping)
    left, values, right = np.linalg.svd(matrix @ root, full_matrices=False)
    roots = np.sqrt(values[:rank])
    # V = right S^-1, from the triangular system V S = right.
    return left[:, :rank] * roots, np.linalg.solve(root.T, (roots[:, None] * right[:rank]).T).T


def _root(hessian: Float[np.ndarray, "n n"], damping: float) -> Float[np.ndarray, "n n"]:
    """Return the lower Cholesky factor of the damped Hessian."""
    mean = float(np.diag(hessian).mean()) or 1.0
    return np.linalg.cholesky(hessian + damping * mean * np.eye(len(hessian)))
