"""Descent on orthogonal matrices: steps of gradient descent that stay orthogonal (Cayley SGD).

Source: Li, Fuxin and Todorovic, "Efficient Riemannian optimization on the Stiefel manifold via the
Cayley transform" (arXiv:2002.01113), as SpinQuant (arXiv:2405.16406) uses it, without momentum.
Both approximate the Cayley transform by five fixed-point iterations and orthogonalise again at
random steps; here it is solved exactly in float64, so rounding errors are all that adds up.
"""

import numpy as np
from jaxtyping import Float64

Square = Float64[np.ndarray, "*stack n n"]


def cayley_step(matrix: Square, gradient: Square, rate: float) -> Square:
    """Return orthogonal matrices after a step against the gradient of a loss.

    With ``A = (R^T G - G^T R) / 2``, the direction of steepest descent is ``-R A``, and the step is
    ``R (I - a A / 2) (I + a A / 2)^-1``. The step size ``a`` is ``rate``, or ``1 / ||A||_1`` (the
    largest sum of magnitudes of a column) if that is less.

    Parameters
    ----------
    matrix : array (..., n, n)
        Orthogonal matrices R.
    gradient : array (..., n, n)
        Derivatives G of the loss with respect to the elements of R.
    rate : float
        Largest step size.
    """
    inner = np.swapaxes(matrix, -1, -2) @ gradient
    skew = (inner - np.swapaxes(inner, -1, -2)) / 2
    norm = np.abs(skew).sum(axis=-2).max(axis=-1)
    size = np.minimum(rate, 1 / (norm + 1e-8))[..., None, None]
    half, identity = size / 2 * skew, np.eye(matrix.shape[-1])
    # Both factors are functions of the skew matrix, so they commute.
    result: Square = matrix @ np.linalg.solve(identity + half, identity - half)
    return result


def orthogonality_error(matrix: Square) -> float:
    """Return the largest magnitude in ``R R^T - I``."""
    product = matrix @ np.swapaxes(matrix, -1, -2)
    return float(np.abs(product - np.eye(matrix.shape[-1])).max())
