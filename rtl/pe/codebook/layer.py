"""Layers with additive codebooks, and the beats that load codebooks."""

from functools import partial

import numpy as np

from numerics.pe.codebook_dot import integer_entries
from rtl.fields import Operands
from rtl.layer.layer import (
    SMALL_TILE,
    Layer,
    of_groups,
    quantized,
    unscaled,
    whole_beats,
    with_lanes,
)
from rtl.layer.vectors import vectors_layer
from rtl.pe.codebook.element import AdditivePe


def layer(
    pe: AdditivePe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer in AQLM, with codebooks rounded to 8 bits and a scale per row."""
    pe, columns = with_lanes(pe, lanes or pe.lanes), tile or SMALL_TILE
    q = quantized(weight, f"aqlm-{pe.books}x{pe.code_bits}")
    numbers, unit = integer_entries(np.asarray(q.arrays["codebooks"]).astype(np.float64))
    return vectors_layer(
        pe,
        np.asarray(q.codes).reshape(len(weight), -1),
        unscaled(q, scales=1.0, codebooks=numbers),
        x,
        columns,
        group=whole_beats(pe.length, pe.lanes),
        codes_per_beat=pe.books,
        unit=1.0,
        scales=of_groups(q.scales, len(weight)) * np.float32(unit),
        prologue=partial(loads, pe, numbers, columns=columns),
    )


def loads(pe: AdditivePe, numbers: np.ndarray, beats: int, *, columns: int) -> Operands:
    """Return groups of beats that load codebooks, shape (books, entries, size), into all PEs.

    A beat loads one entry; padding of the last group loads the last entry again.
    """
    books, entries, size = numbers.shape
    count = -(-books * entries // beats) * beats
    book, entry = np.divmod(np.minimum(np.arange(count), books * entries - 1), entries)
    activations = np.zeros((count, pe.inputs), np.int64)
    activations[:, :size] = numbers[book, entry]
    codes = np.repeat(entry[:, None], columns * pe.vectors * pe.books, axis=1)
    shape = count // beats, beats, -1
    return {
        "codes": codes.reshape(shape),
        "activations": (activations & 255).astype(np.uint8).reshape(shape),
        "load": (1 << book).reshape(shape),
    }
