"""Layers with sign weights, with scales and offsets of inputs."""

from dataclasses import replace

import numpy as np

from numerics.pe.column_signs import integer_columns
from numerics.pe.exact_product import exact_product
from rtl.fields import Operands
from rtl.layer.layer import (
    Layer,
    by_value,
    checked,
    in_beats,
    int8_tokens,
    quantized,
    unscaled,
    whole_beats,
)
from rtl.pe.column_signs.element import ColumnSignsPe


def layer(
    pe: ColumnSignsPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with sign weights; scales and offsets of inputs are rounded to 8 bits."""
    columns, inputs = tile or pe.columns, lanes or pe.inputs
    pe = checked(replace(pe, lanes=inputs * columns, columns=columns))
    group = whole_beats(pe.length, pe.inputs)
    q = quantized(weight, "fbi-binary")
    given = (np.asarray(q.arrays[name]).astype(np.float64)[0] for name in ("scales", "offsets"))
    scales, offsets, unit = integer_columns(*given)
    packed = np.asarray(q.arrays["signs"])
    signs = np.unpackbits(packed, axis=1, bitorder="little")[:, : weight.shape[1]]
    activations, token_scales = int8_tokens(x)
    rows = np.asarray(activations.codes)
    codes = {
        name: each.astype(np.int8).view(np.uint8)[None]
        for name, each in (("scales", scales), ("offsets", offsets))
    }

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], pe.inputs)
        of_columns = by_value(signs[:, part][outputs], beats.shape[1] * pe.inputs)
        of_inputs = {
            name: np.broadcast_to(in_beats(each[:, part], pe.inputs), beats.shape)
            for name, each in codes.items()
        }
        return {
            "signs": of_columns.reshape(len(tokens), -1, pe.lanes),
            "activations": beats,
            **of_inputs,
        }

    of_rows = np.full((len(weight), 1), unit, np.float32)
    values = unscaled(q, scales=scales, offsets=offsets)
    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.columns,
        operands=operands,
        scales=of_rows,
        token_scales=token_scales,
        expected=exact_product(
            unscaled(activations), values, group=group, scales=of_rows, token_scales=token_scales
        ),
    )
