"""A linear layer's weights and activations in a PE's codes, and its outputs from the PE's results.

Weights are quantized in groups as long as the PE's, and activations with one scale a token, or they
are rounded to FP16 where the PE reads that. Groups are scaled and added in float32, in the order
that :mod:`numerics.dot` defines.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, grouped_dot, parse_scheme, quantize
from numerics.cast import encode
from numerics.formats import FP16, Format
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import UNIT_EXPONENT
from numerics.pe.aligned_product import AlignedMatrix, aligned_product
from rtl.aligned_pe import AlignedPe
from rtl.column_pe import ColumnPe
from rtl.dot_product_pe import DotProductPe
from rtl.element import Operands, ProcessingElement
from rtl.lookup import I2_S
from rtl.running_pe import RunningPe
from rtl.tile import TilePe
from rtl.zero_point_pe import ZeroPointPe
from sim.errors import UserError

#: Values in a cycle where their number changes no result.
USUAL_LANES = 8
#: PEs side by side.
USUAL_TILE = 4
#: PEs that read rows of weights and rows of activations.
RowPe = DotProductPe | AlignedPe | RunningPe


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a PE reads of a layer, and what its results are worth."""

    pe: ProcessingElement
    #: Codes, shape (outputs, inputs) and (tokens, inputs).
    weights: np.ndarray
    activations: np.ndarray
    #: Names of the formats of both.
    formats: dict[str, str]
    #: Inputs of a group, and outputs of a result.
    group: int
    columns: int
    #: Operands of some codes: (pairs, columns, length) and (pairs, length), of a group by number,
    #: and the outputs, (pairs, columns).
    operands: Callable[[np.ndarray, np.ndarray, int, np.ndarray], Operands]
    #: Results, shape (groups, tokens, outputs), as float32 before scales.
    values: Callable[[np.ndarray], np.ndarray]
    #: Shape (outputs, groups), and of the tokens.
    scales: np.ndarray
    token_scales: np.ndarray
    #: The outputs by :mod:`numerics` alone; ``None`` if those of the golden sums are all there is.
    expected: np.ndarray | None

    def outputs(self, sums: np.ndarray) -> np.ndarray:
        """Return sums of groups, scaled and added in float32."""
        total = np.zeros(sums.shape[1:], np.float32)
        for segment, scale in zip(self.values(sums), self.scales.T, strict=True):
            total = total + segment * scale[None, :]
        result: np.ndarray = total * self.token_scales[:, None]
        return result

    def split(self, results: np.ndarray) -> np.ndarray:
        """Return results as sums of their columns, shape (pairs, columns)."""
        if isinstance(self.pe, TilePe):
            return results.reshape(len(results), self.columns)
        width = self.pe.result_shape.width // self.columns
        fields = results[:, None] >> width * np.arange(self.columns) & (1 << width) - 1
        return np.asarray((fields ^ 1 << width - 1) - (1 << width - 1))


def layer_of(
    pe: ProcessingElement, weight: np.ndarray, x: np.ndarray, *, lanes: int | None = None,
    tile: int | None = None,
) -> Layer:  # fmt: skip
    """Return a layer for a tile of PEs of some lanes.

    The lanes of a PE whose sums round decide what it rounds.

    Raises
    ------
    UserError
        The PE takes no such layer; the message says what it lacks.
    """
    if isinstance(pe, ColumnPe) or not isinstance(pe, RowPe | ZeroPointPe):
        raise UserError(
            f"{pe.name} can't run a layer: it takes no rows of weights and activations in two"
            " formats; dot products, BitMoD's PEs and those with zero points do"
        )
    if lanes is None:
        lanes = pe.lanes if isinstance(pe, AlignedPe | RunningPe) else USUAL_LANES
    if isinstance(pe, ZeroPointPe):
        columns = tile or pe.columns
        changed = replace(pe, lanes=lanes * columns, columns=columns)
        return _with_zero_points(changed, weight, x)
    columns = tile or USUAL_TILE
    try:
        pe = replace(pe, lanes=lanes)
        # Sizes that fit no circuit are told.
        _ = pe.result_shape
        weights = _quantized_weights(pe, _group(pe), weight)
        if pe.activation_name == FP16.name:
            return _in_fp16(pe, weights, x, columns)
        activations = quantize(jnp.asarray(x), parse_scheme(f"{pe.activation_name}:token:fp32"))
    except ValueError as error:
        raise UserError(f"{pe.name} can't run a layer: {error}") from None
    assert isinstance(pe, DotProductPe)
    return Layer(
        pe=_tile(pe, columns),
        weights=_codes(pe.weights, weights),
        activations=np.asarray(activations.codes),
        formats={"weights": pe.weights.name, "activations": pe.activations.name},
        group=_group(pe),
        columns=columns,
        operands=_rows(pe),
        values=_exact_values(pe),
        scales=_scales(weights),
        token_scales=np.asarray(activations.scales).astype(np.float32).reshape(-1),
        expected=np.asarray(grouped_dot(activations, weights)),
    )


def _tile(pe: RowPe, columns: int) -> TilePe:
    """Return some PEs side by side."""
    return TilePe(
        name=f"{pe.name}-tile", source=pe.source, lanes=columns * pe.lanes, pe=pe, columns=columns
    )


def _group(pe: RowPe | ZeroPointPe) -> int:
    """Return the longest group of whole beats."""
    values = pe.values if isinstance(pe, ZeroPointPe) else pe.lanes
    return pe.length - pe.length % values


def _quantized_weights(pe: RowPe, group: int, weight: np.ndarray) -> QuantizedTensor:
    """Return weights in the scheme that has the PE's values."""
    name = "ternary" if pe.weights == I2_S else pe.weights.name
    if name == "binary":
        raise ValueError("signs of weights come with scales of the inputs, which no layer has yet")
    return quantize(jnp.asarray(weight), parse_scheme(f"{name}:g{group}"))


def _codes(fmt: Format, weights: QuantizedTensor) -> np.ndarray:
    """Return codes of the PE's format."""
    codes: np.ndarray = np.asarray(weights.codes)
    scheme = weights.scheme
    if fmt == I2_S:
        return (codes + 1 & 3).astype(np.uint8)
    if isinstance(scheme, BitMod) and isinstance(fmt, SelectedFormat):
        selectors = np.repeat(np.asarray(weights.arrays["selectors"]), scheme.size, axis=1)
        above = selectors[:, : codes.shape[1]] << fmt.code_bits
        return np.asarray(codes | above, np.uint8)
    return codes


def _scales(weights: QuantizedTensor) -> np.ndarray:
    scales: np.ndarray = np.asarray(weights.scales).astype(np.float32)
    return scales.reshape(weights.shape[0], -1)


def _rows(pe: RowPe) -> Callable[[np.ndarray, np.ndarray, int, np.ndarray], Operands]:
    def operands(
        weights: np.ndarray, activations: np.ndarray, group: int, outputs: np.ndarray
    ) -> Operands:
        rows = _filled(activations, pe.lanes)
        return {
            "weights": _side_by_side(weights, pe.lanes),
            "activations": rows.reshape(len(rows), -1, pe.lanes),
        }

    return operands


def _side_by_side(codes: np.ndarray, values: int) -> np.ndarray:
    """Return codes, shape (pairs, columns, length), as beats with ``values`` of every column."""
    by_column = _filled(codes.reshape(-1, codes.shape[2]), values)
    by_beat = by_column.reshape(*codes.shape[:2], -1, values).swapaxes(1, 2)
    return by_beat.reshape(*by_beat.shape[:2], -1)


def _filled(codes: np.ndarray, values: int) -> np.ndarray:
    """Return codes as whole beats; code 0 of an activation is the number 0."""
    return np.pad(codes, ((0, 0), (0, -codes.shape[1] % values)))


def _exact_values(pe: DotProductPe) -> Callable[[np.ndarray], np.ndarray]:
    assert pe.weights.unit is not None and pe.activations.unit is not None
    units = np.float32(pe.weights.unit * pe.activations.unit)
    return lambda sums: sums.astype(np.float32) * units


def _in_fp16(pe: RowPe, weights: QuantizedTensor, x: np.ndarray, columns: int) -> Layer:
    """Return a layer whose activations are FP16, which need no scales."""
    expected = None
    if isinstance(pe, AlignedPe):
        expected = np.asarray(
            aligned_product(jnp.asarray(x), AlignedMatrix(weight=weights, pe=pe.model))
        )
    return Layer(
        pe=_tile(pe, columns),
        weights=_codes(pe.weights, weights),
        activations=np.asarray(encode(FP16, jnp.asarray(x))),
        formats={"weights": pe.weights.name, "activations": FP16.name},
        group=_group(pe),
        columns=columns,
        operands=_rows(pe),
        values=_exact_values(pe) if isinstance(pe, DotProductPe) else _floating_values(pe),
        scales=_scales(weights),
        token_scales=np.ones(len(x), np.float32),
        expected=expected,
    )


def _floating_values(pe: AlignedPe | RunningPe) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes numbers of mantissas with exponents above them."""
    if isinstance(pe, AlignedPe):
        width = pe.model.accumulator_bits
        unit: float | None = pe.model.generator.unit
    else:
        width, unit = pe.model.sum_bits(pe.length), pe.weights.unit
    assert unit is not None

    def values(results: np.ndarray) -> np.ndarray:
        bits = pe.result_shape.width
        whole = results & (1 << bits) - 1
        mantissas = (whole & (1 << width) - 1 ^ 1 << width - 1) - (1 << width - 1)
        powers = (whole >> width) + UNIT_EXPONENT - pe.model.guard_bits
        found = np.ldexp(mantissas.astype(np.float32), powers.astype(np.int32))
        return np.asarray(found * np.float32(unit))

    return values


def _with_zero_points(pe: ZeroPointPe, weight: np.ndarray, x: np.ndarray) -> Layer:
    """Return a layer of unsigned weights, some outputs at a time."""
    group = _group(pe)
    try:
        # Sizes that fit no circuit are told.
        _ = pe.result_shape
        name = pe.weights.name.removeprefix("u")
        weights = quantize(jnp.asarray(weight), parse_scheme(f"{name}:g{group}:asym"))
        activations = quantize(jnp.asarray(x), parse_scheme(f"{pe.activations.name}:token:fp32"))
    except ValueError as error:
        raise UserError(f"{pe.name} can't run a layer: {error}") from None
    zeros = np.asarray(weights.arrays["zero_points"]).reshape(weight.shape[0], -1)
    units = pe.weights.unit, pe.activations.unit
    assert units == (1.0, 1.0)

    def operands(
        codes: np.ndarray, activations: np.ndarray, group: int, outputs: np.ndarray
    ) -> Operands:
        by_value = _filled(codes.reshape(-1, codes.shape[2]), pe.values)
        by_value = by_value.reshape(*codes.shape[:2], -1).swapaxes(1, 2)
        rows = _filled(activations, pe.values).reshape(len(activations), -1, pe.values)
        of_columns = zeros[outputs, group][:, None, :]
        return {
            "weights": by_value.reshape(len(codes), -1, pe.lanes),
            "activations": rows,
            "zeros": np.broadcast_to(of_columns, (*rows.shape[:2], pe.columns)),
        }

    return Layer(
        pe=pe,
        weights=np.asarray(weights.codes),
        activations=np.asarray(activations.codes),
        formats={"weights": pe.weights.name, "activations": pe.activations.name},
        group=group,
        columns=pe.columns,
        operands=operands,
        values=lambda sums: sums.astype(np.float32),
        scales=_scales(weights),
        token_scales=np.asarray(activations.scales).astype(np.float32).reshape(-1),
        expected=np.asarray(grouped_dot(activations, weights)),
    )
