"""Layers with ternary weights, by table look-up."""

from dataclasses import replace

import numpy as np

from numerics import grouped_dot
from numerics.pe.lookup import tl1_codes, tl2_codes
from rtl.fields import Operands
from rtl.layer.layer import (
    Layer,
    checked,
    in_beats,
    int8_tokens,
    of_groups,
    quantized,
    whole_beats,
)
from rtl.pe.lookup.element import LookupPe


def layer(
    pe: LookupPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with ternary weights, in codes of two or three weights."""
    columns, per_column = tile or pe.columns, lanes or pe.lanes // pe.columns
    pe = checked(replace(pe, lanes=per_column * columns, columns=columns))
    values = pe.inputs
    group = whole_beats(pe.length, values)
    weights = quantized(weight, f"ternary:g{group}")
    activations, token_scales = int8_tokens(x)
    trits = (np.asarray(weights.codes).astype(np.int64) + 1 & 3) - 1
    rows = np.asarray(activations.codes)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        beats = in_beats(rows[tokens, part], values)
        missing = beats.shape[1] * values - rows[:, part].shape[1]
        codes = _ternary_codes(np.pad(trits[:, part], ((0, 0), (0, missing))), pe.size)
        by_table = codes[outputs].swapaxes(1, 2)
        shape = len(tokens), beats.shape[1], pe.tables * pe.columns
        return {"codes": by_table.reshape(shape), "activations": beats}

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
    )


def _ternary_codes(trits: np.ndarray, size: int) -> np.ndarray:
    """Return TL1's codes of two weights, or TL2's codes of three (sign above the magnitude)."""
    if size == 2:
        return np.asarray(tl1_codes(trits), np.uint8)
    magnitudes, signs = tl2_codes(trits)
    return np.asarray(magnitudes | signs << 4, np.uint8)
