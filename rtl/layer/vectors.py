"""Layers of PEs whose codes stand for vectors of weights, or for nested weights."""

from collections.abc import Callable

import numpy as np

from numerics.pe.exact_product import exact_product
from rtl.element import ProcessingElement
from rtl.fields import Operands
from rtl.layer.layer import Layer, in_beats, int8_tokens, side_by_side, tile_of, unscaled


def vectors_layer(
    pe: ProcessingElement,
    codes: np.ndarray,
    values: np.ndarray,
    x: np.ndarray,
    columns: int,
    *,
    group: int,
    codes_per_beat: int,
    unit: float,
    scales: np.ndarray,
    prologue: Callable[[int], Operands] | None = None,
) -> Layer:
    """Return a layer from codes, shape (outputs, codes), and their values, (outputs, inputs)."""
    activations, token_scales = int8_tokens(x)
    rows, per_group = np.asarray(activations.codes), group // pe.lanes * codes_per_beat

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        of_codes = slice(index * per_group, (index + 1) * per_group)
        found = {
            "codes": side_by_side(codes[:, of_codes][outputs], codes_per_beat),
            "activations": in_beats(rows[tokens, index * group : (index + 1) * group], pe.lanes),
        }
        nothing = np.zeros((*found["activations"].shape[:2], 1), np.uint8)
        return found | {
            name: nothing for name in ("load", "left_out") if name in pe.operand_layout.members
        }

    return Layer(
        pe=tile_of(pe, columns),
        outputs=len(codes),
        inputs=x.shape[1],
        group=group,
        columns=columns,
        operands=operands,
        values=lambda sums: sums.astype(np.float32) * np.float32(unit),
        scales=scales,
        token_scales=token_scales,
        expected=exact_product(
            unscaled(activations), values, group=group, scales=scales, token_scales=token_scales
        ),
        prologue=prologue,
    )
