"""Layers of BitMoD's PE with its dequantizer; a result covers all inputs of an output."""

from functools import partial

import numpy as np

from numerics import QuantizedTensor
from rtl.fields import Operands
from rtl.layer.layer import Layer
from rtl.pe.column.element import ColumnPe
from rtl.pe.rows_layer import MoreFields, group_of, rounding_layer


def layer(
    pe: ColumnPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with FP16 activations; the PE applies the scales of groups."""
    more = partial(_scales, lanes=lanes or pe.lanes, group=group_of(pe))
    return rounding_layer(pe, weight, x, lanes=lanes, tile=tile, more=more, is_whole_row=True)


def _scales(weights: QuantizedTensor, *, lanes: int, group: int) -> MoreFields:
    """Return a function of the fields ``scales`` and ``ends_group`` of every beat."""
    codes = np.asarray(weights.arrays["scale_codes"])

    def more(outputs: np.ndarray, index: int, beats: int) -> Operands:
        number = np.arange(beats) * lanes // group
        ends = np.append(number[1:] != number[:-1], True)
        scales = codes[outputs[:, :, None], number].swapaxes(1, 2)
        shape = len(outputs), beats, 1
        return {
            "scale": scales,
            "ends_group": np.broadcast_to(ends[None, :, None].astype(np.uint8), shape),
        }

    return more
