"""The asymmetric target: weights that compensate the error of quantized inputs.

With inputs ``x_q`` where the float model has ``x``, the codes that minimise ``|W_q x_q - W x|^2``
are those of plain GPTQ for ``W* = W + W G (H + damping)^-1``, ``G = sum (x - x_q) x_q^T`` and
``H = sum x_q x_q^T`` (complete the square). This replaces GPTAQ's correction of the column loop.
"""

import numpy as np
from jaxtyping import Float


def asymmetric_target(
    weight: Float[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    shift: Float[np.ndarray, "n n"],
    *,
    damping: float = 0.01,
    strength: float = 1.0,
) -> Float[np.ndarray, "out n"]:
    """Return the target ``W* = W + W G (H + damping)^-1`` in float64.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    hessian : array (in, in)
        ``sum x_q x_q^T`` over the calibration tokens.
    shift : array (in, in)
        ``sum (x - x_q) x_q^T`` over the tokens of ``hessian``, with its constant factor.
    damping : float
        Relative to the mean of the Hessian's diagonal.
    strength : float
        Part of the correction that is made: ``alpha`` of GPTAQ's public code.
    """
    w, h = np.asarray(weight, np.float64), np.asarray(hessian, np.float64)
    mean = float(np.diag(h).mean()) or 1.0
    damped = h + damping * mean * np.eye(len(h))
    return w + strength * np.linalg.solve(damped, (w @ np.asarray(shift, np.float64)).T).T
