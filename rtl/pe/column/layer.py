"""Layers of BitMoD's PE with its dequantizer, whose results are whole rows."""

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
    """Return a layer of FP16 activations, whose groups of weights the PE scales."""
    more = partial(_scales, lanes=lanes or pe.lanes, group=group_of(pe))
    return rounding_layer(pe, weight, x, lanes=lanes, tile=tile, more=more, is_whole_row=True)


def _scales(weights: QuantizedTensor, *, lanes: int, group: int) -> MoreFields:
    """Return the fields with the scale of every group, and its end."""
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
