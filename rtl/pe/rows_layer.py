"""Layers of PEs whose beats hold codes of a row of weights and a row of activations."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor
from numerics.arithmetic.cast import encode
from numerics.formats import FP16
from numerics.pe.product import PeMatrix, pe_product
from rtl.fields import Operands
from rtl.layer.layer import (
    USUAL_TILE,
    Layer,
    Rows,
    in_beats,
    of_groups,
    quantized,
    side_by_side,
    tile_of,
    whole_beats,
    with_lanes,
)
from rtl.pe.rows import RowPe

#: Function from outputs, a group index and the number of beats to further fields of the beats.
MoreFields = Callable[[np.ndarray, int, int], Operands]


def group_of(pe: RowPe) -> int:
    """Return the largest group size of whole beats, in values."""
    return whole_beats(pe.length, pe.lanes)


def row_weights(pe: RowPe, weight: np.ndarray) -> QuantizedTensor:
    """Return weights in the PE's scheme, in groups as long as the PE's."""
    return quantized(weight, f"{pe.scheme()}:g{group_of(pe)}")


def fp16_codes(x: np.ndarray) -> np.ndarray:
    """Return FP16 codes of numbers."""
    return np.asarray(encode(FP16, jnp.asarray(x)))


def row_layer(
    pe: RowPe,
    weights: np.ndarray,
    activations: np.ndarray,
    columns: int,
    *,
    scales: np.ndarray,
    token_scales: np.ndarray,
    expected: np.ndarray,
    group: int | None = None,
    more: MoreFields | None = None,
) -> Layer:
    """Return a layer from matrices of codes."""
    group = group or group_of(pe)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        rows = in_beats(activations[tokens, part], pe.lanes)
        found = {
            "weights": side_by_side(weights[:, part][outputs], pe.lanes),
            "activations": rows,
        }
        return found | (more(outputs, index, rows.shape[1]) if more else {})

    formats = {name: fmt.name for name, fmt in pe.formats.items()}
    return Layer(
        pe=tile_of(pe, columns),
        outputs=len(weights),
        inputs=weights.shape[1],
        group=group,
        columns=columns,
        operands=operands,
        values=pe.values,
        scales=scales,
        token_scales=token_scales,
        expected=expected,
        rows=None if more else Rows(weights=weights, activations=activations, formats=formats),
    )


def rounding_layer(
    pe: RowPe,
    weight: np.ndarray,
    x: np.ndarray,
    *,
    lanes: int | None,
    tile: int | None,
    more: Callable[[QuantizedTensor], MoreFields] | None = None,
    is_whole_row: bool = False,
) -> Layer:
    """Return the layer of a PE whose sums round, with activations in FP16.

    ``more`` returns further fields from the weights. A result covers a group, or all inputs.
    """
    pe = with_lanes(pe, lanes or pe.lanes)
    weights, model = row_weights(pe, weight), pe.rounding_model
    assert model is not None
    expected = pe_product(jnp.asarray(x), PeMatrix(weight=weights, pe=model))
    return row_layer(
        pe,
        pe.codes(weights),
        fp16_codes(x),
        tile or USUAL_TILE,
        scales=of_groups(weights.scales, len(weight)),
        token_scales=np.ones(len(x), np.float32),
        expected=np.asarray(expected),
        group=weight.shape[1] if is_whole_row else None,
        more=more(weights) if more else None,
    )
