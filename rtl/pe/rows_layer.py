"""Layers of PEs that read rows of weights and rows of activations, some lanes of both a beat."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, grouped_dot
from numerics.arithmetic.cast import encode
from numerics.formats import FP16, Format
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.bitmod_scaled import BitModScaled
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import UNIT_EXPONENT
from numerics.pe.dequantizer import ColumnDot
from numerics.pe.exact_product import exact_product
from numerics.pe.product import PeMatrix, fp16_product, pe_product
from numerics.pe.rounding import WINDOWS, RoundingPe
from rtl.element import Operands
from rtl.layer.layer import (
    Layer,
    Rows,
    in_all_beats,
    in_beats,
    of_groups,
    quantized,
    side_by_side,
    tile_of,
    unscaled,
    whole_beats,
)
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.column.element import ColumnPe
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.fp16_mac.element import Fp16MacPe, Fp16Pe
from rtl.pe.lookup.circuit import I2_S
from rtl.pe.running.element import RunningPe
from rtl.pe.special.element import SpecialPe

#: PEs whose operands are rows of codes of two formats and nothing else.
RowPe = DotProductPe | AlignedPe | RunningPe | Fp16MacPe
Pe = RowPe | SpecialPe
#: More fields of results' beats, by outputs, group and number of beats.
More = Callable[[np.ndarray, int, int], Operands]


def rows_layer(pe: Pe, weight: np.ndarray, x: np.ndarray, columns: int) -> Layer:
    """Return the layer of a PE, whose weights have groups as long as the PE's."""
    if isinstance(pe, Fp16MacPe):
        return _fp16_layer(pe, weight, x, columns)
    weights = _weights(pe, weight)
    if isinstance(pe, DotProductPe) and pe.activations != FP16:
        return _integer_layer(pe, weights, x, columns)
    activations = np.asarray(encode(FP16, jnp.asarray(x)))
    if isinstance(pe, DotProductPe):
        scales, token_scales = of_groups(weights.scales, len(weight)), np.ones(len(x), np.float32)
        numbers = activations.view(np.float16).astype(np.float32)
        expected = exact_product(
            numbers, unscaled(weights), group=group_of(pe), scales=scales, token_scales=token_scales
        )
    else:
        matrix = PeMatrix(weight=weights, pe=_model(pe))
        expected = np.asarray(pe_product(jnp.asarray(x), matrix))
    if isinstance(pe, ColumnPe):
        return _column_layer(pe, weights, activations, expected, columns)
    more = _special(pe, weights) if isinstance(pe, SpecialPe) else None
    codes = np.asarray(weights.codes) if isinstance(pe, SpecialPe) else _codes(pe.weights, weights)
    return _layer(
        pe,
        codes,
        activations,
        columns,
        more=more,
        values=_exact_values(pe) if isinstance(pe, DotProductPe) else _floating_values(pe),
        scales=of_groups(weights.scales, len(weight)),
        token_scales=np.ones(len(x), np.float32),
        expected=expected,
    )


def group_of(pe: Pe) -> int:
    """Return the longest group of whole beats."""
    return whole_beats(pe.length, pe.lanes)


def _layer(
    pe: Pe,
    weights: np.ndarray,
    activations: np.ndarray,
    columns: int,
    *,
    values: Callable[[np.ndarray], np.ndarray],
    scales: np.ndarray,
    token_scales: np.ndarray,
    expected: np.ndarray,
    group: int | None = None,
    more: More | None = None,
) -> Layer:
    """Return the layer of rows of codes."""
    group = group or group_of(pe)

    def operands(outputs: np.ndarray, tokens: np.ndarray, index: int) -> Operands:
        part = slice(index * group, (index + 1) * group)
        rows = in_beats(activations[tokens, part], pe.lanes)
        found = {
            "weights": side_by_side(weights[:, part][outputs], pe.lanes),
            "activations": rows,
        }
        return found | (more(outputs, index, rows.shape[1]) if more else {})

    formats = {"weights": pe.weights.name, "activations": pe.activation_name}
    return Layer(
        pe=tile_of(pe, columns),
        outputs=len(weights),
        inputs=weights.shape[1],
        group=group,
        columns=columns,
        operands=operands,
        values=values,
        scales=scales,
        token_scales=token_scales,
        expected=expected,
        rows=None if more else Rows(weights=weights, activations=activations, formats=formats),
    )


def _integer_layer(
    pe: DotProductPe, weights: QuantizedTensor, x: np.ndarray, columns: int
) -> Layer:
    activations = quantized(x, f"{pe.activation_name}:token:fp32")
    token_scales = np.asarray(activations.scales).astype(np.float32).reshape(-1)
    scales = of_groups(weights.scales, weights.shape[0])
    if pe.weights.name == "binary":
        expected = exact_product(
            unscaled(activations),
            unscaled(weights),
            group=group_of(pe),
            scales=scales,
            token_scales=token_scales,
        )
    else:
        expected = np.asarray(grouped_dot(activations, weights))
    return _layer(
        pe,
        _codes(pe.weights, weights),
        np.asarray(activations.codes),
        columns,
        values=_exact_values(pe),
        scales=scales,
        token_scales=token_scales,
        expected=expected,
    )


def _weights(
    pe: DotProductPe | AlignedPe | RunningPe | SpecialPe, weight: np.ndarray
) -> QuantizedTensor:
    """Return weights in the scheme that has the PE's values."""
    if isinstance(pe, ColumnPe | SpecialPe):
        bits = pe.base.bits if isinstance(pe, SpecialPe) else _weight_bits(pe)
        name = f"bitmod-fp{bits}" + ("-s8-hw" if isinstance(pe, ColumnPe) else "")
    else:
        names = {I2_S.name: "ternary", "binary": "int1"}
        name = names.get(pe.weights.name, pe.weights.name)
    return quantized(weight, f"{name}:g{group_of(pe)}")


def _weight_bits(pe: ColumnPe) -> int:
    assert isinstance(pe.weights, SelectedFormat)
    return pe.weights.code_bits


def _model(pe: AlignedPe | RunningPe | SpecialPe) -> RoundingPe:
    if isinstance(pe, SpecialPe):
        return pe.dot
    return ColumnDot(model=pe.model) if isinstance(pe, ColumnPe) else pe.model


def _codes(fmt: Format, weights: QuantizedTensor) -> np.ndarray:
    """Return codes of the PE's format."""
    codes: np.ndarray = np.asarray(weights.codes)
    scheme = weights.scheme
    if fmt == I2_S:
        return (codes + 1 & 3).astype(np.uint8)
    if isinstance(scheme, BitMod | BitModScaled) and isinstance(fmt, SelectedFormat):
        selectors = np.repeat(np.asarray(weights.arrays["selectors"]), scheme.size, axis=1)
        above = selectors[:, : codes.shape[1]] << fmt.code_bits
        return np.asarray(codes | above, np.uint8)
    return codes


def _exact_values(pe: DotProductPe) -> Callable[[np.ndarray], np.ndarray]:
    assert pe.weights.unit is not None and pe.activations.unit is not None
    units = np.float32(pe.weights.unit * pe.activations.unit)
    return lambda sums: sums.astype(np.float32) * units


def _floating_values(pe: Fp16Pe) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes numbers of mantissas with exponents above them."""
    if isinstance(pe, RunningPe):
        width, guard_bits = pe.model.sum_bits(pe.length), pe.model.guard_bits
        unit = pe.weights.unit
    else:
        assert isinstance(pe, AlignedPe | SpecialPe)
        model = pe.dot.model if isinstance(pe, SpecialPe) else pe.model
        width, guard_bits, unit = model.accumulator_bits, model.guard_bits, model.generator.unit
    assert unit is not None

    def values(results: np.ndarray) -> np.ndarray:
        whole = results & (1 << pe.result_shape.width) - 1
        mantissas = (whole & (1 << width) - 1 ^ 1 << width - 1) - (1 << width - 1)
        powers = (whole >> width) + UNIT_EXPONENT - guard_bits
        found = np.ldexp(mantissas.astype(np.float32), powers.astype(np.int32))
        return np.asarray(found * np.float32(unit))

    return values


def _special(pe: SpecialPe, weights: QuantizedTensor) -> More:
    """Return the special value of every group, which comes with all of its beats."""
    scheme = weights.scheme
    assert isinstance(scheme, BitMod)
    codes = np.array([WINDOWS.encode(fmt.special) for fmt in scheme.formats], np.uint8)
    specials = codes[np.asarray(weights.arrays["selectors"])]
    return lambda outputs, index, beats: {"special": in_all_beats(specials[outputs, index], beats)}


def _column_layer(
    pe: ColumnPe,
    weights: QuantizedTensor,
    activations: np.ndarray,
    expected: np.ndarray,
    columns: int,
) -> Layer:
    """Return a layer whose results are whole rows, their groups scaled by the PE."""
    of_groups_ = np.asarray(weights.arrays["scale_codes"])
    group = group_of(pe)
    inputs = weights.shape[1]

    def more(outputs: np.ndarray, index: int, beats: int) -> Operands:
        number = np.arange(beats) * pe.lanes // group
        ends = np.append(number[1:] != number[:-1], True)
        scales = of_groups_[outputs[:, :, None], number].swapaxes(1, 2)
        shape = len(outputs), beats, 1
        return {
            "scale": scales,
            "ends_group": np.broadcast_to(ends[None, :, None].astype(np.uint8), shape),
        }

    unit = np.float32(pe.model.generator.unit)
    return _layer(
        pe,
        _codes(pe.weights, weights),
        activations,
        columns,
        group=inputs,
        more=more,
        values=lambda results: fp32_numbers(results) * unit,
        scales=of_groups(weights.scales, weights.shape[0]),
        token_scales=np.ones(len(activations), np.float32),
        expected=expected,
    )


def _fp16_layer(pe: Fp16MacPe, weight: np.ndarray, x: np.ndarray, columns: int) -> Layer:
    """Return a layer in FP16, every row one sum."""
    weights, activations = (np.asarray(encode(FP16, jnp.asarray(each))) for each in (weight, x))
    return _layer(
        replace(pe, length=weight.shape[1]),
        weights,
        activations,
        columns,
        group=weight.shape[1],
        values=fp32_numbers,
        scales=np.ones((len(weight), 1), np.float32),
        token_scales=np.ones(len(x), np.float32),
        expected=np.asarray(fp16_product(jnp.asarray(x), jnp.asarray(weights))),
    )


def fp32_numbers(results: np.ndarray) -> np.ndarray:
    """Return the numbers of FP32 codes."""
    return results.astype(np.uint32).view(np.float32)
