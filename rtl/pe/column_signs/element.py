"""Dot products of sign weights with scales and offsets of inputs, as a processing element."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.pe.column_signs import BITS, column_sign_bits, column_sign_dots
from rtl.arithmetic.group_sum import accumulator_width, lanes_of_column, pack_columns, signed_codes
from rtl.arithmetic.products import reference_product
from rtl.element import Obligation, ProcessingElement
from rtl.fields import BeatShape, Codes, Field, Integers, Operands
from rtl.pe import nearest
from rtl.pe.column_signs.circuit import INT8, ColumnSigns
from rtl.pe.dot_product.circuit import ProductFactory

#: Fields of a beat with one number per input.
NUMBERS = ("activations", "scales", "offsets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnitudes(Codes):
    """INT8 codes; typical ones are at least 0."""

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return magnitudes of Gaussian numbers."""
        codes = super(Magnitudes, self).typical(random, shape, drawn)
        return np.asarray(abs(signed_codes(codes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSignsPe(ProcessingElement, layer="rtl.pe.column_signs.layer"):
    """Dot products of several columns of signs with one row of activations."""

    weight_field: ClassVar[str] = "signs"
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
        """Activations, their scales and offsets, and signs."""
        each = "int8, one per activation"
        return (
            Codes(name="activations", lanes=self.inputs, format=INT8),
            Magnitudes(name="scales", lanes=self.inputs, format=INT8, words=each),
            Codes(
                name="offsets",
                lanes=self.inputs,
                format=INT8,
                words=f"{each}, in the units of the scales",
            ),
            Integers(
                name="signs",
                label="signs with scales and offsets of inputs",
                words="activation by activation, one bit per column: 1 is +1, 0 is -1",
                lanes=self.lanes,
                high=2,
                extremes=(0, 1),
            ),
        )

    @property
    def dots_per_result(self) -> int:
        """Number of columns."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: columns, activations and lengths."""
        return (
            f"{self.name}: dot products of signs with scales and offsets; {self.source}",
            f"{self.columns} columns, {self.inputs} activations per beat, groups of {self.length}",
        )

    @property
    def result_meaning(self) -> str:
        """The dot products of the columns."""
        return "sum((offset + sign * scale) * a) of each column"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of FBI-LLM's scheme."""
        return nearest.rounded("scales and offsets of inputs")

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = column_sign_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> ColumnSigns:
        """Return a new component."""
        return ColumnSigns(
            self.product,
            columns=self.columns,
            values=self.inputs,
            length=self.length,
            bits=self.sum_bits,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the dot products of the columns, the first in the lowest bits."""
        groups = len(operands["signs"])
        signs = operands["signs"].reshape(groups, -1, self.columns).swapaxes(1, 2)
        numbers = [signed_codes(operands[name].reshape(groups, -1)) for name in NUMBERS]
        return pack_columns(column_sign_dots(signs, *numbers), signed_shape(self.sum_bits))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of an activation times its input's scale and offset."""
        return (
            Obligation(
                what="product equals decoded values and *",
                circuit=lambda: self.product(INT8, INT8),
                reference=lambda: reference_product(INT8, INT8),
                input_bits=2 * BITS,
            ),
        )
