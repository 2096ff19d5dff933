"""The pass of :func:`numerics.codebooks.beam.beam_search` for a beam of one, without copies.

What is left of a row, times the Hessian, is kept for some groups ahead, so that large products
take the place of many thin ones; a group's change is added to the ones behind it. Of a place's loss
only the part that its entry decides is computed.
"""

import numpy as np
from jaxtyping import Float, Int

#: Groups whose columns of ``left @ hessian`` are kept.
AHEAD = 8


def best_codes(
    left: Float[np.ndarray, "rows columns"],
    codes: Int[np.ndarray, "rows groups codebooks"],
    *,
    codebooks: Float[np.ndarray, "codebooks entries d"],
    scales: Float[np.ndarray, " rows"],
    hessian: Float[np.ndarray, "columns columns"],
) -> Int[np.ndarray, "rows groups codebooks"]:
    """Return the codes after a pass; ``left`` is the weights less the values of ``codes``."""
    left, codes, size = left.copy(), codes.copy(), codebooks.shape[2]
    for start in range(0, left.shape[1], AHEAD * size):
        stop = min(start + AHEAD * size, left.shape[1])
        slopes = left @ hessian[:, start:stop]
        for first in range(start, stop, size):
            group, last = first // size, first + size
            moved = _moved(
                slopes[:, first - start : last - start], codes[:, group], codebooks, scales,
                hessian[first:last, first:last],
            )  # fmt: skip
            left[:, first:last] += moved
            slopes[:, last - start :] += moved @ hessian[first:last, last:stop]
    return codes


def _moved(
    slopes: Float[np.ndarray, "rows d"],
    codes: Int[np.ndarray, "rows codebooks"],
    codebooks: Float[np.ndarray, "codebooks entries d"],
    scales: Float[np.ndarray, " rows"],
    block: Float[np.ndarray, "d d"],
) -> Float[np.ndarray, "rows d"]:
    """Put better codes of one group in place; return by how much more of its weights is left."""
    moved = np.zeros_like(slopes)
    for number, codebook in enumerate(codebooks):
        before = codebook[codes[:, number]] * scales[:, None]
        # The loss is a parabola in the entry c: s^2 c B c^T - 2 s c slope^T, one product for all.
        slope = (slopes + (before + moved) @ block) * scales[:, None]
        factors = np.concatenate([slope, scales[:, None] ** 2], axis=1)
        curved = ((codebook @ block) * codebook).sum(axis=1, keepdims=True)
        best = (factors @ np.concatenate([-2 * codebook, curved], axis=1).T).argmin(axis=1)
        moved += before - codebook[best] * scales[:, None]
        codes[:, number] = best
    return moved
