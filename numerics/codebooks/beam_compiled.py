"""The pass of :mod:`numerics.codebooks.beam_one` in compiled loops, several times as fast.

The terms of a loss are added in one fixed order, whatever the other rows and the number of threads
are. So the codes equal those of NumPy where sums are exact, and the first of equal losses wins in
both; elsewhere the two may differ between entries whose losses differ by no more than rounding.
"""

import ctypes
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from numerics.codebooks import beam_one
from numerics.codebooks.beam_one import Codebooks, Codes, Hessian, Matrix, PerRow
from numerics.native.compiled import library

SOURCE = Path(__file__).with_suffix(".cc")
#: C++ names of an array's type and of the integer type of the same size, and that type in NumPy.
TYPES: dict[np.dtype[np.generic], tuple[str, str, np.dtype[np.generic]]] = {
    np.dtype(np.float32): ("float", "int32_t", np.dtype(np.int32)),
    np.dtype(np.float64): ("double", "int64_t", np.dtype(np.int64)),
}
#: Most weights in a group of the compiled loops, which keep a group in a processor's registers.
MAX_SIZE = 16
#: Number of losses in a pass from which compiling the loops pays; below it NumPy is used.
WORTHWHILE = 1 << 22
#: Bytes of a panel of the Hessian, which stays in a cache while all rows are processed.
PANEL_BYTES = 1 << 20
CACHE_LINE = 64


class _Panel(NamedTuple):
    """Data of some consecutive groups that all rows share."""

    groups: range
    hessian: Float[np.ndarray, "groups columns d"]
    codebooks: Codebooks
    #: ``c B c^T`` of each entry ``c``, where B is the group's diagonal block of the Hessian.
    curves: Float[np.ndarray, "groups all_entries"]
    #: Largest magnitude in ``codebooks``, and in ``curves``.
    largest: Float[np.ndarray, "2"]


def best_codes(
    left: Matrix, codes: Codes, *, codebooks: Codebooks, scales: PerRow, hessian: Hessian
) -> Codes:
    """Return the codes after a pass, by compiled loops for large inputs, else by NumPy."""
    given = {"codebooks": codebooks, "scales": scales, "hessian": hessian}
    found = None
    if codes.size * codebooks.shape[1] >= WORTHWHILE:
        found = codes_by_loops(left, codes, **given)
    return beam_one.best_codes(left, codes, **given) if found is None else found


def codes_by_loops(
    left: Matrix, codes: Codes, *, codebooks: Codebooks, scales: PerRow, hessian: Hessian
) -> Codes | None:
    """Return the codes after a pass, or None if NumPy has to find them.

    The loops return None without a compiler, for arrays of mixed types or of types other than
    float32 and float64, for groups of more than :data:`MAX_SIZE` weights, for codes outside the
    codebook, for arrays of inconsistent shapes, and if a sum may not be finite: NumPy then decides
    which loss is the least among those that may be NaN.
    """
    size = codebooks.shape[2]
    loops = _loops(left.dtype, size)
    if loops is None or not _is_for_loops(left, codes, codebooks, scales, hessian):
        return None
    lanes = loops.lanes()
    found = _blocks(codes.astype(TYPES[left.dtype][2]), lanes)
    arrays = _blocks(left, lanes), found, _blocks(scales, lanes)
    workers = min(os.cpu_count() or 1, len(found))
    parts = [np.array_split(array, workers) for array in arrays]
    codebooks = np.ascontiguousarray(codebooks)
    ahead = max(1, PANEL_BYTES // (len(hessian) * size * hessian.itemsize))
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, codes.shape[1], ahead):
            groups = range(first, min(first + ahead, codes.shape[1]))
            panel = _panel(loops, groups, codebooks, hessian)
            if not all(pool.map(partial(_improve, loops, panel), *parts)):
                return None
    rows = np.moveaxis(found, -1, 1).reshape(-1, *codes.shape[1:])
    return rows[: len(codes)].astype(codes.dtype)


def _is_for_loops(
    left: np.ndarray,
    codes: np.ndarray,
    codebooks: np.ndarray,
    scales: np.ndarray,
    hessian: np.ndarray,
) -> bool:
    """Whether shapes agree, types are equal and codes are in range; the loops check none of it."""
    (rows, groups, count), (_, entries, size) = codes.shape, codebooks.shape
    columns = groups * size
    fits = (len(codebooks), left.shape) == (count, (rows, columns))
    fits &= (scales.shape, hessian.shape) == ((rows,), (columns, columns))
    is_one_type = all(array.dtype == left.dtype for array in (codebooks, scales, hessian))
    is_entry = codes.size > 0 and codes.min() >= 0 and codes.max() < entries
    return bool(fits and is_one_type and is_entry)


def _loops(dtype: np.dtype[np.generic], size: int) -> ctypes.CDLL | None:
    """Return the functions of the C++ file for this type and groups of this size."""
    if dtype not in TYPES or not 1 <= size <= MAX_SIZE:
        return None
    real, index, _ = TYPES[dtype]
    loops = library(SOURCE, REAL=real, INDEX=index, SIZE=size)
    if loops is not None:
        loops.lanes.restype = ctypes.c_int64
        loops.find_curves.restype = None
        loops.find_curves.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 4
        loops.improve.restype = ctypes.c_bool
        loops.improve.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 6
    return loops


def _blocks(
    array: Shaped[np.ndarray, "rows ..."], lanes: int
) -> Shaped[np.ndarray, "blocks ... lanes"]:
    """Return blocks of ``lanes`` rows with the rows on the last axis; zeros fill the last block.

    >>> _blocks(np.float32([[1, 2], [3, 4], [5, 6]]), 2).tolist()
    [[[1.0, 3.0], [2.0, 4.0]], [[5.0, 0.0], [6.0, 0.0]]]
    """
    full, over = divmod(len(array), lanes)
    blocks = _aligned((full + (over > 0), *array.shape[1:], lanes), array.dtype)
    whole = array[: full * lanes].reshape(full, lanes, *array.shape[1:])
    blocks[:full] = np.moveaxis(whole, 1, -1)
    blocks[full:, ..., :over] = np.moveaxis(array[full * lanes :], 0, -1)
    return blocks


def _aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Shaped[np.ndarray, "..."]:
    """Return zeros that start at a cache line, the alignment that the loops' vectors need."""
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size].view(dtype).reshape(shape)


def _panel(
    loops: ctypes.CDLL,
    groups: range,
    codebooks: Codebooks,
    hessian: Hessian,
) -> _Panel:
    count, entries, size = codebooks.shape
    columns = hessian[:, groups.start * size : groups.stop * size]
    columns = columns.reshape(len(hessian), len(groups), size).swapaxes(0, 1)
    columns = np.ascontiguousarray(columns)
    blocks = _blocks(codebooks.reshape(-1, size), loops.lanes())
    curves = _aligned((len(groups), len(blocks) * loops.lanes()), codebooks.dtype)
    loops.find_curves(
        curves.ctypes.data,
        columns.ctypes.data,
        blocks.ctypes.data,
        len(hessian),
        len(blocks),
        groups.start,
        groups.stop,
    )
    curves = np.ascontiguousarray(curves[:, : count * entries])
    largest = np.stack([np.abs(codebooks).max(), np.abs(curves).max()])
    return _Panel(groups, columns, codebooks, curves, largest)


def _improve(
    loops: ctypes.CDLL,
    panel: _Panel,
    left: Float[np.ndarray, "blocks columns lanes"],
    codes: Int[np.ndarray, "blocks groups codebooks lanes"],
    scales: Float[np.ndarray, "blocks lanes"],
) -> bool:
    """Improve the codes of a panel in place; return False if a sum may not be finite."""
    groups, *shared = panel
    done: bool = loops.improve(
        *(array.ctypes.data for array in (left, codes, scales, *shared)),
        *left.shape[:2],
        *panel.codebooks.shape[:2],
        groups.start,
        groups.stop,
    )
    return done
