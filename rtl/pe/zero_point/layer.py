"""Layers with unsigned weights and zero points."""

from dataclasses import replace

import numpy as np

from numerics import grouped_dot
from rtl.fields import Operands
from rtl.layer.layer import (
    USUAL_LANES,
    Layer,
    Rows,
    by_value,
    checked,
    in_all_beats,
    in_beats,
    int8_tokens,
    of_groups,
    quantized,
    whole_beats,
)
from rtl.pe.zero_point.element import ZeroPointPe


def layer(
    pe: ZeroPointPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with unsigned weights; the PE subtracts the zero points."""
    columns = tile or pe.columns
    pe = replace(pe, lanes=(lanes or USUAL_LANES) * columns, columns=columns)
    group = whole_beats(pe.length, pe.inputs)
    pe = checked(pe)
    weights = quantized(weight, f"{pe.weights.name.removeprefix('u')}:g{group}:asym")
    activations, token_scales = int8_tokens(x)
    codes, rows = np.asarray(weights.codes), np.asarray(activations.codes)
    zeros = np.asarray(weights.arrays["zero_points"]).reshape(len(weight), -1)
    assert (pe.weights.unit, pe.activations.unit) == (1.0, 1.0)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], pe.inputs)
        of_columns = by_value(codes[:, part][outputs], beats.shape[1] * pe.inputs)
        return {
            "weights": of_columns.reshape(len(tokens), -1, pe.lanes),
            "activations": beats,
            "zeros": in_all_beats(zeros[outputs, index], beats.shape[1]),
        }

    return Layer(
        pe=pe,
        outputs=len(weight),
        inputs=weight.shape[1],
        group=group,
        columns=pe.columns,
        operands=operands,
        scales=of_groups(weights.scales, len(weight)),
        token_scales=token_scales,
        expected=np.asarray(grouped_dot(activations, weights)),
        rows=Rows(
            weights=codes,
            activations=rows,
            formats={"weights": pe.weights.name, "activations": pe.activations.name},
        ),
    )
