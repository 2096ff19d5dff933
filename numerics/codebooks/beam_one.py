"""The pass of :func:`numerics.codebooks.beam.beam_search` for a beam of one, without copies.

The residual of each row times the Hessian is computed for :data:`AHEAD` groups at once, by one
large matrix product; the change of a group is then added to the later groups among them. Only the
part of the loss that depends on the new entry is computed, in the type of the arrays.
"""

import numpy as np
from jaxtyping import Float, Int

Codes = Int[np.ndarray, "rows groups codebooks"]
Codebooks = Float[np.ndarray, "codebooks entries d"]
Matrix = Float[np.ndarray, "rows columns"]
PerRow = Float[np.ndarray, " rows"]
Hessian = Float[np.ndarray, "columns columns"]

#: Number of groups whose columns of ``left @ hessian`` are computed by one matrix product.
AHEAD = 8


def best_codes(
    left: Matrix, codes: Codes, *, codebooks: Codebooks, scales: PerRow, hessian: Hessian
) -> Codes:
    """Return the codes after a pass; ``left`` is the weights minus the values of ``codes``."""
    left, size = left.copy(), codebooks.shape[2]
    # The codes of all rows for one codebook of one group are contiguous.
    chosen = np.ascontiguousarray(np.moveaxis(codes, 0, 2))
    factors = np.empty((len(left), size + 1), left.dtype)
    factors[:, -1] = scales**2
    losses = np.empty((len(left), codebooks.shape[1]), left.dtype)
    for start in range(0, left.shape[1], AHEAD * size):
        stop = min(start + AHEAD * size, left.shape[1])
        slopes = left @ hessian[:, start:stop]
        for first in range(start, stop, size):
            last = first + size
            moved = _moved(
                slopes[:, first - start : last - start],
                chosen[first // size],
                codebooks,
                scales[:, None],
                hessian[first:last, first:last],
                factors=factors,
                losses=losses,
            )
            left[:, first:last] += moved
            slopes[:, last - start :] += moved @ hessian[first:last, last:stop]
    return np.moveaxis(chosen, 2, 0)


def _moved(
    slopes: Float[np.ndarray, "rows d"],
    chosen: Int[np.ndarray, "codebooks rows"],
    codebooks: Codebooks,
    scales: Float[np.ndarray, "rows 1"],
    block: Float[np.ndarray, "d d"],
    *,
    factors: Float[np.ndarray, "rows d+1"],
    losses: Float[np.ndarray, "rows entries"],
) -> Float[np.ndarray, "rows d"]:
    """Improve the codes of one group in place; return the change of the group's residual.

    ``factors``, whose last column is the squared scales, and ``losses`` are scratch arrays.
    """
    moved = np.zeros_like(slopes)
    for codebook, codes in zip(codebooks, chosen, strict=True):
        without = codebook.take(codes, axis=0) * scales + moved
        # The loss is quadratic in the entry c: s^2 c B c^T - 2 s c slope^T; one GEMM for all c.
        np.multiply(without @ block + slopes, scales, out=factors[:, :-1])
        curved = ((codebook @ block) * codebook).sum(axis=1)
        np.matmul(factors, np.vstack([-2 * codebook.T, curved]), out=losses)
        codes[:] = losses.argmin(axis=1)
        moved = without - codebook.take(codes, axis=0) * scales
    return moved
