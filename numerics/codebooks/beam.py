"""Codes of additive codebooks by beam search, for the squared error of a layer's outputs.

Source: AQLM, arXiv:2401.06118, section 3.2 and its code. This search visits groups and codebooks in
stored order; AQLM shuffles them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from numerics.codebooks.beam_compiled import best_codes
from numerics.codebooks.beam_one import Codebooks, Codes, Hessian, Matrix, PerRow


class _Beam(NamedTuple):
    """The best codes so far of each row, best first, with their residuals and losses."""

    codes: Int[np.ndarray, "rows width groups codebooks"]
    left: Float[np.ndarray, "rows width columns"]
    losses: Float[np.ndarray, "rows width"]


def decode(codes: Codes, codebooks: Codebooks, scales: PerRow) -> Float[np.ndarray, "rows columns"]:
    """Return ``scale * (C_1[i_1] + C_2[i_2] + ...)`` for each group of a row.

    >>> books = np.array([[[0.0, 1.0], [2.0, 3.0]], [[0.5, 0.5], [0.25, 0.0]]])
    >>> decode(np.array([[[1, 0], [0, 1]]]), books, np.array([2.0]))
    array([[5. , 7. , 0.5, 2. ]])
    """
    shape, dtype = (*codes.shape[:2], codebooks.shape[2]), np.result_type(codebooks, scales)
    entries = np.zeros(shape, dtype)
    for codebook, chosen in zip(codebooks, np.moveaxis(codes, 2, 0), strict=True):
        entries += codebook.take(chosen, axis=0)
    entries *= scales[:, None, None]
    return entries.reshape(len(codes), -1)


def losses(weights: Matrix, values: Matrix, hessian: Hessian) -> PerRow:
    """Return ``(w - v) H (w - v)^T`` of each row.

    >>> losses(np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]]), np.diag([1.0, 10.0]))
    array([14.])
    """
    left = weights - values
    found: np.ndarray = ((left @ hessian) * left).sum(axis=1)
    return found


def beam_search(
    weights: Matrix,
    codes: Codes,
    *,
    codebooks: Codebooks,
    scales: PerRow,
    hessian: Hessian,
    width: int,
) -> Codes:
    """Return codes of lower loss, found by one pass over all groups and codebooks.

    A place is one codebook of one group. At each place every entry is tried in each of the
    ``width`` best codes of a row, and the ``width`` best are kept, the first on ties. ``hessian``
    is the mean of ``x x^T`` over the layer's inputs. With an identity Hessian groups are
    independent of each other; they may then be passed as rows, which have beams of their own. The
    arrays are all float64, as in the schemes, or all float32, as in AQLM's code, which takes about
    half the time. With a C++ compiler a beam of width one takes a third of the time:
    :mod:`numerics.codebooks.beam_compiled`.

    Examples
    --------
    >>> books = np.array([[[0.0], [4.0]], [[-1.0], [1.0]]])
    >>> beam_search(
    ...     np.array([[3.25]]), np.array([[[0, 1]]]),
    ...     codebooks=books, scales=np.ones(1), hessian=np.eye(1), width=1,
    ... ).tolist()
    [[[1, 0]]]
    """
    if width < 1:
        raise ValueError(f"the width of a beam is at least 1, not {width}")
    values = decode(codes, codebooks, scales)
    if width == 1:
        return best_codes(
            weights - values, codes, codebooks=codebooks, scales=scales, hessian=hessian
        )
    beam = _Beam(
        codes[:, None], (weights - values)[:, None], losses(weights, values, hessian)[:, None]
    )
    return _pass(beam, codebooks, scales, hessian, width)


def _pass(
    beam: _Beam,
    codebooks: Codebooks,
    scales: PerRow,
    hessian: Hessian,
    width: int,
) -> Codes:
    """Return the best codes of each row after a pass over all groups and codebooks."""
    for group in range(beam.codes.shape[2]):
        for number, codebook in enumerate(codebooks):
            beam = _step(beam, (group, number), codebook, scales, hessian, width)
    return beam.codes[:, 0]


def _step(
    beam: _Beam,
    place: tuple[int, int],
    codebook: Float[np.ndarray, "entries d"],
    scales: PerRow,
    hessian: Hessian,
    width: int,
) -> _Beam:
    """Return the beam after every entry is tried for one codebook of one group."""
    group, number = place
    size = codebook.shape[1]
    columns = slice(group * size, (group + 1) * size)
    block, scale = hessian[columns, columns], scales[:, None, None]
    before = codebook[beam.codes[:, :, group, number]] * scale
    # The residual without this entry, times the Hessian; the loss is quadratic in the new entry.
    slope = beam.left @ hessian[:, columns] + before @ block
    bare = beam.losses + 2 * (before * slope).sum(2) - ((before @ block) * before).sum(2)
    curved = ((codebook @ block) * codebook).sum(1)
    tried = bare[:, :, None] - 2 * scale * (slope @ codebook.T) + scale**2 * curved
    flat = tried.reshape(len(tried), -1)
    best = np.argsort(flat, axis=1, kind="stable")[:, :width]
    parent, entry = np.divmod(best, len(codebook))
    row = np.arange(len(best))[:, None]
    codes, left = beam.codes[row, parent].copy(), beam.left[row, parent].copy()
    codes[:, :, group, number] = entry
    left[:, :, columns] += before[row, parent] - codebook[entry] * scale
    return _Beam(codes, left, np.take_along_axis(flat, best, axis=1))
