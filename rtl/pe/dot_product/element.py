"""Exact integer dot products of two formats, as a processing element."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from numerics.formats import FP16, Format
from numerics.pe.exact_dot import exact_dots, sum_bits
from rtl.arithmetic.decoder import decoder_obligations
from rtl.arithmetic.terms import Serial
from rtl.arithmetic.units import in_units
from rtl.element import Obligation, ProcessingElement
from rtl.fields import Operands
from rtl.pe import nearest
from rtl.pe.dot_product.circuit import DotProduct, ProductFactory
from rtl.pe.dot_product.obligation import product_obligation
from rtl.pe.lookup.circuit import I2_S
from rtl.pe.rows import RowPe, selected_codes

if TYPE_CHECKING:
    from numerics.schemes.tensor import QuantizedTensor

#: Largest number of pairs of codes that are verified exhaustively.
EXHAUSTIVE_PAIRS = 2**24
#: Names of schemes that differ from the name of their weight format.
SCHEMES = {I2_S.name: "ternary", "binary": "int1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DotProductPe(RowPe, layer="rtl.pe.dot_product.layer"):
    """A PE of exact dot products: formats, multiplier, lanes."""

    weights: Format
    activations: Format
    product: ProductFactory
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None
    #: Term circuit that adds one term of each product per cycle; ``None``: whole products.
    serial: Serial | None = None

    @property
    def formats(self) -> Mapping[str, Format]:
        """Formats of weights and activations."""
        return {"weights": self.weights, "activations": self.activations}

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, lanes and lengths."""
        formats = f"{self.weights.name} weights and {self.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.lanes} lanes per beat, groups of up to {self.length} values",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product, in units of the weight unit times the activation unit."""
        return f"the dot product{in_units(self.weights.unit, self.activations.unit)}"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of the weights' format."""
        if self.activations == FP16:
            return nearest.FP16_ACTIVATIONS
        return nearest.VALUES if self.weights.name == "binary" else nearest.PLAIN

    @property
    def cycles(self) -> int:
        """Cycles of a beat: the terms of a product, one after another."""
        return self.serial.cycles if self.serial else 1

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        return self.accumulator_bits or sum_bits(self.weights, self.activations, self.length)

    def with_formats(self, formats: Mapping[str, Format]) -> Self:
        """Return the PE with other formats, named after them."""
        other = replace(self, **formats)  # type: ignore[arg-type]
        if other == self:
            return self
        return replace(other, name=f"{other.weight_name}-{other.activation_name}-like-{self.name}")

    def build(self) -> DotProduct:
        """Return a new component."""
        return DotProduct(
            self.weights,
            self.activations,
            self.product,
            lanes=self.lanes,
            length=self.length,
            accumulator_bits=self.accumulator_bits,
            serial=self.serial,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the exact dot products, in units of the weight unit times the activation unit."""
        return exact_dots(self.weights, self.activations, *self.rows(operands))

    def scheme(self) -> str:
        """Return the scheme with the weights' format."""
        return SCHEMES.get(self.weights.name, self.weights.name)

    def codes(self, weights: "QuantizedTensor") -> np.ndarray:
        """Return codes of the weights' format; an I2_S code is the ternary weight plus one."""
        codes = selected_codes(self.weights, weights)
        return (codes + 1 & 3).astype(np.uint8) if self.weights == I2_S else codes

    def values(self, results: np.ndarray) -> np.ndarray:
        """Return dot products times the formats' units."""
        assert self.weights.unit is not None and self.activations.unit is not None
        units = np.float32(self.weights.unit * self.activations.unit)
        return np.asarray(results.astype(np.float32) * units)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the multiplier and of the decoders."""
        formats = self.weights, self.activations
        return (
            product_obligation(self.product, *formats),
            *decoder_obligations(*formats),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands] | None:
        """Return every pair of codes, one per group."""
        bits = self.activations.bits
        pairs = 2 ** (self.weights.bits + bits)
        if pairs > EXHAUSTIVE_PAIRS:
            return None
        weights, activations = np.divmod(np.arange(pairs), 2**bits)
        single = replace(self, lanes=1)
        return single, single.beats(weights[:, None], activations[:, None])
