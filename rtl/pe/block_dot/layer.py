"""Layers of PEs that apply the scales of blocks: MX, NVFP4 and MixPE with group scales."""

from collections.abc import Callable

import numpy as np

from numerics import QuantizedTensor
from numerics.formats import E4M3, E8M0, FP16, Format
from numerics.pe.block_shift import BlockShifted
from numerics.pe.exact_product import exact_product
from rtl.arithmetic.scalers import scale_formats
from rtl.fields import Operands
from rtl.layer.layer import (
    SMALL_TILE,
    USUAL_LANES,
    Layer,
    bits_of,
    in_beats,
    quantized,
    side_by_side,
    tile_of,
    unscaled,
    with_lanes,
)
from rtl.pe.block_dot.element import BlockDotPe

#: Suffix of a scheme's text after the element format, by the format of the blocks' scales.
_SCHEMES = {E8M0: ":g{}:e8m0", E4M3: ":g{}:e4m3:two-level", FP16: ":g{}:fp16"}
#: Suffix of a scheme's text for INT8 scales, of which only the 7-bit positive codes occur.
_INTEGER_SCALES = "-vs-s7:g{}"
#: Scale code that marks a block of zeros; less than that of any scale.
_NO_SCALE = -(1 << 20)


def layer(
    pe: BlockDotPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer in which a result covers several blocks.

    The PE does not apply scales of the tensor, rows or tokens; they multiply its results.
    """
    pe, columns = with_lanes(pe, lanes or USUAL_LANES), tile or SMALL_TILE
    kinds = scale_formats(pe.model)
    weights = quantized(weight, _scheme(pe.model.weights, kinds[0], pe.model.block))
    has_both = len(kinds) == 2
    of_inputs = _scheme(pe.model.activations, kinds[-1], pe.model.block)
    name = of_inputs if has_both else f"{pe.activation_name}:token:fp32"
    activations = quantized(x, name)
    w, scales = _without_outer(weights)
    a, token_scales = _without_outer(activations, outer="" if has_both else "scales")
    sides = [weights, activations] if has_both else [weights]
    lowest = _lowest(pe, sides, w, a) if isinstance(pe.model, BlockShifted) else None
    return Layer(
        pe=tile_of(pe, columns),
        outputs=len(weight),
        inputs=weight.shape[1],
        group=pe.length,
        columns=columns,
        operands=_operands(pe, weights, activations, sides, lowest),
        values=_values(pe, lowest),
        scales=scales,
        token_scales=token_scales[:, 0],
        expected=exact_product(
            a, w, group=pe.length, scales=scales, token_scales=token_scales[:, 0]
        ),
    )


def _scheme(element: Format, scale: Format, block: int) -> str:
    return element.name + _SCHEMES.get(scale, _INTEGER_SCALES).format(block)


def _without_outer(q: QuantizedTensor, outer: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return the values without the outer scale, and the outer scale, shape (rows, 1)."""
    rows = q.shape[0]
    outer = outer or next((n for n in ("tensor_scale", "row_scales") if n in q.arrays), "")
    if not outer:
        return np.asarray(q.dequantize()), np.ones((rows, 1), np.float32)
    scale = np.asarray(q.arrays[outer]).astype(np.float32)
    return unscaled(q, **{outer: 1.0}), np.broadcast_to(scale, (rows, 1))


def _operands(
    pe: BlockDotPe,
    weights: QuantizedTensor,
    activations: QuantizedTensor,
    sides: list[QuantizedTensor],
    lowest: np.ndarray | None,
) -> Callable[[np.ndarray, np.ndarray, int], Operands]:
    codes, rows = np.asarray(weights.codes), np.asarray(activations.codes)
    scales = [bits_of(side.scales) for side in sides]

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * pe.length, (index + 1) * pe.length)
        beats = in_beats(rows[tokens, part], pe.lanes)
        block = (part.start + np.arange(beats.shape[1]) * pe.lanes) // pe.model.block
        of_block = [scales[0][outputs[:, :, None], block]]
        if len(scales) == 2:
            of_token = scales[1][tokens[:, None], block]
            of_block.append(np.broadcast_to(of_token[:, None], of_block[0].shape))
        found = {
            "weights": side_by_side(codes[:, part][outputs], pe.lanes),
            "activations": beats,
            "scales": np.stack(of_block, axis=-1).swapaxes(1, 2).reshape(*beats.shape[:2], -1),
        }
        if lowest is not None:
            of_columns = lowest[index, tokens[:, None], outputs]
            shape = (*beats.shape[:2], outputs.shape[1])
            found["lowest"] = np.broadcast_to(of_columns[:, None], shape)
        return found

    return operands


def _lowest(
    pe: BlockDotPe, sides: list[QuantizedTensor], w: np.ndarray, a: np.ndarray
) -> np.ndarray:
    """Return the window of every result, shape (groups, tokens, outputs).

    Its upper end is the largest scale of a block with nonzero values.

    Raises
    ------
    ValueError
        The scale of a block lies below its window, so that the PE would round.
    """
    model = pe.model
    assert isinstance(model, BlockShifted)
    weights = _scale_codes(w, model.block, sides[0].scales)
    tokens = _scale_codes(a, model.block, sides[1].scales if len(sides) == 2 else None)
    found = []
    for start in range(0, weights.shape[1], pe.length // model.block):
        part = slice(start, start + pe.length // model.block)
        both = tokens[:, None, part] + weights[None, :, part]
        top = both.max(axis=-1)
        lowest = np.maximum(top - (model.shifts - 1), 0)
        least = np.where(both < 0, top[..., None], both).min(axis=-1)
        if (least < lowest).any():
            raise ValueError(
                f"scales of blocks of one result differ by {(top - least).max()} powers of two;"
                f" sums are exact in a window of {model.shifts}"
            )
        found.append(lowest)
    return np.stack(found)


def _scale_codes(values: np.ndarray, block: int, scales: object | None) -> np.ndarray:
    """Return scale codes of blocks, shape (rows, blocks); ``_NO_SCALE`` for blocks of zeros."""
    rows, length = values.shape
    filled = np.pad(values, ((0, 0), (0, -length % block))).reshape(rows, -1, block)
    codes = 0 if scales is None else bits_of(scales).astype(np.int64)
    return np.where((filled != 0).any(axis=-1), codes, _NO_SCALE)


def _values(pe: BlockDotPe, lowest: np.ndarray | None) -> Callable[[np.ndarray], np.ndarray]:
    if lowest is None:
        assert not isinstance(pe.model, BlockShifted)
        unit = np.float32(pe.model.unit)
        return lambda sums: sums.astype(np.float32) * unit
    assert isinstance(pe.model, BlockShifted)
    # Unit of a result if all scales are 1.
    places = lowest - 127 * pe.model.scales
    of_elements = np.float32(pe.model.unit(127 * pe.model.scales))
    return lambda sums: np.ldexp(sums.astype(np.float32), places.astype(np.int32)) * of_elements
