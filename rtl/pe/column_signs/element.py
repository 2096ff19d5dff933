"""Signs with scales and offsets of inputs as a processing element."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.formats import Format
from numerics.pe.column_signs import BITS, column_sign_bits, column_sign_dots
from rtl.arithmetic.group_sum import accumulator_width, lanes_of_column, pack_columns, signed_codes
from rtl.arithmetic.products import reference_product
from rtl.element import Obligation, Operands, ProcessingElement, few_beats, random_codes
from rtl.pe.column_signs.circuit import INT8, ColumnSigns
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.element import LENGTH, TYPICAL_BEATS, gaussian_codes

#: The fields of a beat that have a number of every input.
NUMBERS = ("activations", "scales", "offsets")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSignsPe(ProcessingElement):
    """Columns of signs at one row of activations, each with a scale and an offset."""

    product: ProductFactory
    columns: int
    length: int = LENGTH
    #: Of each sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """Signs and what each input has."""
        return "signs with scales and offsets of inputs"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return INT8.name

    @property
    def values(self) -> int:
        """Activations of a beat."""
        return lanes_of_column(self.lanes, self.columns)

    @property
    def dots_per_result(self) -> int:
        """One a column."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Columns, and what they share."""
        return (
            f"{self.name}: dot products of signs with scales and offsets; {self.source}",
            f"{self.columns} columns, {self.values} activations a beat, groups of {self.length}",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "signs": "by activation, and of each by column: 1 is +1, 0 is -1",
            "activations": INT8,
            "scales": "int8, one of each activation",
            "offsets": "int8, one of each activation, in the units of the scales",
            "result": "sum((offset + sign * scale) * a) of each column",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = column_sign_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> ColumnSigns:
        """Return a new component."""
        return ColumnSigns(
            self.product,
            columns=self.columns,
            values=self.values,
            length=self.length,
            bits=self.sum_bits,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of the columns, the first in the lowest bits."""
        groups = len(operands["signs"])
        signs = operands["signs"].reshape(groups, -1, self.columns).swapaxes(1, 2)
        numbers = [signed_codes(operands[name].reshape(groups, -1)) for name in NUMBERS]
        return pack_columns(column_sign_dots(signs, *numbers), signed_shape(self.sum_bits))

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats."""
        random = np.random.default_rng(seed)
        shape = groups, few_beats(seed)
        signs = random_codes(random, 1, (*shape, self.lanes))
        numbers = {name: random_codes(random, BITS, (*shape, self.values)) for name in NUMBERS}
        return {"signs": signs, **numbers}

    def corners(self) -> Operands:
        """Return the longest groups of extremes of all fields."""
        parts = [[0, 1], *([0, 1, 127, 128, 255] for _ in NUMBERS)]
        corners = np.stack(np.meshgrid(*parts), axis=-1).reshape(-1, len(parts)).T
        shape = corners.shape[1], self.length // self.values
        signs, *numbers = (codes[:, None, None] for codes in corners)
        return {
            "signs": np.broadcast_to(signs, (*shape, self.lanes)),
            **{
                name: np.broadcast_to(codes, (*shape, self.values))
                for name, codes in zip(NUMBERS, numbers, strict=True)
            },
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return random signs, and Gaussian activations, scales and offsets; scales above 0."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS
        found = {name: gaussian_codes(INT8, random, (*shape, self.values)) for name in NUMBERS}
        sizes = abs(signed_codes(found["scales"]))
        signs = random.integers(0, 2, (*shape, self.lanes))
        return {"signs": signs, **found, "scales": sizes}

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product of an activation and what its input has."""
        return (
            Obligation(
                what="product equals decoded values and *",
                circuit=lambda: self.product(INT8, INT8),
                reference=lambda: reference_product(INT8, INT8),
                input_bits=2 * BITS,
            ),
        )
