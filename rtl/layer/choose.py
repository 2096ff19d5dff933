"""A linear layer's weights and activations in a PE's codes, and its outputs from the PE's results.

Weights are quantized in the scheme that the PE reads, in groups as long as the PE's; activations
have one scale a token, or scales of blocks, or are rounded to FP16, whichever the PE reads. Groups
are scaled and added in float32, in the order that :mod:`numerics.dot` defines.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from rtl.element import ProcessingElement
from rtl.layer.layer import Layer
from rtl.layer.vectors import additive_layer, e8p_layer, planes_layer
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.bit_planes.element import BitPlanesPe
from rtl.pe.block_dot.element import BlockDotPe
from rtl.pe.block_dot.layer import blocks_layer
from rtl.pe.codebook.columns_layer import (
    lookup_layer,
    signs_layer,
    vptq_layer,
    zero_point_layer,
)
from rtl.pe.codebook.element import AdditivePe, ColumnBooksPe
from rtl.pe.column_signs.element import ColumnSignsPe
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.e8p.element import E8pPe
from rtl.pe.fp16_mac.element import Fp16MacPe
from rtl.pe.lookup.element import LookupPe
from rtl.pe.rows_layer import rows_layer
from rtl.pe.running.element import RunningPe
from rtl.pe.special.element import SpecialPe
from rtl.pe.zero_point.element import ZeroPointPe

P = TypeVar("P", bound=ProcessingElement)
#: Values in a cycle where their number changes no result.
USUAL_LANES = 8
#: PEs side by side, and those of large circuits, which take longer to compile than to run.
USUAL_TILE, SMALL_TILE = 4, 2
LARGE = BlockDotPe | E8pPe | AdditivePe


def layer_of(
    pe: ProcessingElement,
    weight: np.ndarray,
    x: np.ndarray,
    *,
    lanes: int | None = None,
    tile: int | None = None,
) -> Layer:
    """Return a layer, (outputs, inputs) at (tokens, inputs), for a tile of PEs of some lanes.

    The lanes of a PE whose sums round decide what it rounds.

    Raises
    ------
    ValueError
        The PE takes no such layer; the message says what it lacks.
    """
    try:
        return _layer_of(pe, weight, x, lanes, tile)
    except ValueError as error:
        raise ValueError(f"{pe.name} can't run a layer: {error}") from None


def _layer_of(
    pe: ProcessingElement, weight: np.ndarray, x: np.ndarray, lanes: int | None, tile: int | None
) -> Layer:
    if tile is not None and tile > len(weight):
        raise ValueError(f"a tile of {tile} PEs for {len(weight)} outputs; give at most as many")
    columns = tile or (SMALL_TILE if isinstance(pe, LARGE) else USUAL_TILE)
    match pe:
        case DotProductPe():
            return rows_layer(_checked(pe, lanes or USUAL_LANES), weight, x, columns)
        case AlignedPe() | RunningPe() | Fp16MacPe() | SpecialPe():
            return rows_layer(_checked(pe, lanes or pe.lanes), weight, x, columns)
        case ZeroPointPe():
            columns = tile or pe.columns
            pe = replace(pe, lanes=(lanes or USUAL_LANES) * columns, columns=columns)
            return zero_point_layer(pe, weight, x)
        case ColumnSignsPe():
            columns, values = tile or pe.columns, lanes or pe.values
            return signs_layer(replace(pe, lanes=values * columns, columns=columns), weight, x)
        case LookupPe():
            columns, values = tile or pe.columns, lanes or pe.lanes // pe.columns
            return lookup_layer(replace(pe, lanes=values * columns, columns=columns), weight, x)
        case ColumnBooksPe():
            rows, vectors = tile or pe.rows, lanes or pe.columns
            pe = replace(pe, rows=rows, columns=vectors, lanes=rows * vectors)
            return vptq_layer(pe, weight, x)
        case AdditivePe():
            return additive_layer(_checked(pe, lanes or pe.lanes), weight, x, columns)
        case E8pPe():
            return e8p_layer(_checked(pe, lanes or pe.lanes), weight, x, columns)
        case BitPlanesPe():
            return planes_layer(_checked(pe, lanes or pe.lanes), weight, x, columns)
        case BlockDotPe():
            return blocks_layer(_checked(pe, lanes or USUAL_LANES), weight, x, columns)
    raise ValueError(
        "it is a part of a PE, which takes sums of groups; bitmod-fp4-column has it behind its own"
    )


def _checked(pe: P, lanes: int) -> P:
    """Return a PE of some lanes; sizes that fit no circuit are told."""
    found = replace(pe, lanes=lanes)
    _ = found.result_shape
    return found
