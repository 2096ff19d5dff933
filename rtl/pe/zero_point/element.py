"""Dot products of weights with zero points, as a processing element."""

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.formats import Format
from numerics.pe.zero_point import difference_bits, zero_point_dots
from rtl.arithmetic.decoder import decoder_obligations
from rtl.arithmetic.group_sum import accumulator_width, lanes_of_column, pack_columns
from rtl.element import Obligation, ProcessingElement
from rtl.fields import CentredCodes, Codes, Field, Integers, Operands
from rtl.pe import nearest
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.obligation import product_obligation
from rtl.pe.zero_point.circuit import Correction, CorrectionReference, ZeroPoint, row_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointPe(ProcessingElement, layer="rtl.pe.zero_point.layer"):
    """Dot products of several columns of unsigned weights, each with a zero point per group."""

    weights: Format
    activations: Format
    product: ProductFactory
    columns: int
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None

    @property
    def inputs(self) -> int:
        """Number of activations per beat."""
        return lanes_of_column(self.lanes, self.columns)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Weights (typical ones around the middle code), activations, and zero points."""
        high = 1 << self.weights.bits
        return (
            CentredCodes(
                name="weights",
                label=f"{self.weights.name} with zero point",
                lanes=self.lanes,
                high=high,
                extremes=(0, 1, high // 2 - 1, high - 1),
                centre=high // 2,
                format=self.weights,
            ),
            Codes(name="activations", lanes=self.inputs, format=self.activations),
            Integers(
                name="zeros",
                words="zero point of each column, read in a group's last beat",
                lanes=self.columns,
                high=high,
                extremes=(0, 1, high - 1),
                usual=high // 2,
            ),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, columns, lengths and order of weights."""
        formats = f"{self.weights.name} weights and {self.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.columns} columns, {self.inputs} activations per beat, groups of {self.length}",
            "weights are in the order of activations, one per column for each",
        )

    @property
    def result_meaning(self) -> str:
        """The dot products of the columns."""
        return "sum(w * a) - zero * sum(a) of each column"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of asymmetric weights."""
        return nearest.PLAIN

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = difference_bits(self.weights, self.activations, self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} differences")

    def build(self) -> ZeroPoint:
        """Return a new component."""
        return ZeroPoint(
            self.weights,
            self.activations,
            self.product,
            columns=self.columns,
            values=self.inputs,
            length=self.length,
            bits=self.sum_bits,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the dot products, corrected by the zero points."""
        groups = len(operands["weights"])
        weights = operands["weights"].reshape(groups, -1, self.columns).swapaxes(1, 2)
        codes, zeros = operands["activations"].reshape(groups, -1), operands["zeros"][:, -1]
        found = zero_point_dots(self.weights, self.activations, weights, codes, zeros)
        return pack_columns(found, signed_shape(self.sum_bits))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the multiplier and of the correction."""
        formats = self.weights, self.activations
        total_bits = difference_bits(*formats, self.length)
        return (
            product_obligation(self.product, *formats),
            Obligation(
                what="correction equals total - zero * row",
                circuit=lambda: Correction(*formats, length=self.length),
                reference=lambda: CorrectionReference(*formats, length=self.length),
                input_bits=total_bits + row_bits(self.activations, self.length) + self.weights.bits,
            ),
            *decoder_obligations(*formats),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands]:
        """Return every combination of weight, activation and zero point, one per group."""
        bits = self.weights.bits, self.activations.bits
        numbers = np.arange(1 << 2 * bits[0] + bits[1]).reshape(-1, 1, 1)
        weights, rest = np.divmod(numbers, 1 << bits[0] + bits[1])
        activations, zeros = np.divmod(rest, 1 << bits[0])
        single = replace(self, lanes=1, columns=1)
        return single, {"weights": weights, "activations": activations, "zeros": zeros}
