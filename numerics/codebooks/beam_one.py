"""The pass of :func:`numerics.codebooks.beam.beam_search` for a beam of one, without copies.

What is left of a row, times the Hessian, is kept for some groups ahead, so that large products
take the place of many thin ones; a group's change is added to the ones behind it. Of a place's loss
only the part that its entry decides is computed, in the type of the arrays.
"""

import numpy as np
from jaxtyping import Float, Int

Codes = Int[np.ndarray, "rows groups codebooks"]
Codebooks = Float[np.ndarray, "codebooks entries d"]
Matrix = Float[np.ndarray, "rows columns"]
PerRow = Float[np.ndarray, " rows"]
Hessian = Float[np.ndarray, "columns columns"]

#: Groups whose columns of ``left @ hessian`` are kept.
AHEAD = 8


def best_codes(
    left: Matrix, codes: Codes, *, codebooks: Codebooks, scales: PerRow, hessian: Hessian
) -> Codes:
    """Return the codes after a pass; ``left`` is the weights less the values of ``codes``."""
    left, size = left.copy(), codebooks.shape[2]
    # The codes of a place lie side by side.
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
    """Put better codes of one group in place; return by how much more of its weights is left.

    ``factors``, whose last column is the scales' squares, and ``losses`` are room to work in.
    """
    moved = np.zeros_like(slopes)
    for codebook, codes in zip(codebooks, chosen, strict=True):
        without = codebook.take(codes, axis=0) * scales + moved
        # The loss is a parabola in the entry c: s^2 c B c^T - 2 s c slope^T, one product for all.
        np.multiply(without @ block + slopes, scales, out=factors[:, :-1])
        curved = ((codebook @ block) * codebook).sum(axis=1)
        np.matmul(factors, np.vstack([-2 * codebook.T, curved]), out=losses)
        codes[:] = losses.argmin(axis=1)
        moved = without - codebook.take(codes, axis=0) * scales
    return moved
