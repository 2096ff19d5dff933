"""Weights with a zero point as a processing element."""

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.formats import Format
from numerics.pe.zero_point import difference_bits, zero_point_dots
from rtl.arithmetic.decoder import decoder_obligations
from rtl.arithmetic.group_sum import accumulator_width, lanes_of_column, pack_columns
from rtl.arithmetic.products import reference_product
from rtl.element import (
    SPREAD,
    Obligation,
    Operands,
    ProcessingElement,
    few_beats,
    random_codes,
)
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.element import LENGTH, TYPICAL_BEATS, gaussian_codes
from rtl.pe.zero_point.circuit import Correction, CorrectionReference, ZeroPoint, row_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointPe(ProcessingElement):
    """Columns of unsigned weights with zero points of their own, at one row of activations."""

    weights: Format
    activations: Format
    product: ProductFactory
    columns: int
    length: int = LENGTH
    #: Of each sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """The format of the weights."""
        return f"{self.weights.name} with zero point"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return self.activations.name

    @property
    def values(self) -> int:
        """Activations of a beat."""
        return lanes_of_column(self.lanes, self.columns)

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, columns and the moment of the zero points."""
        formats = f"{self.weights.name} weights and {self.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.columns} columns, {self.values} activations a beat, groups of {self.length}",
            "weights come by activation, and of each activation by column",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "weights": self.weights,
            "activations": self.activations,
            "zeros": "zero point of each column, read in a group's last beat",
            "result": "sum(w * a) - zero * sum(a) of each column",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = difference_bits(self.weights, self.activations, self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} differences")

    def build(self) -> ZeroPoint:
        """Return a new component."""
        return ZeroPoint(
            self.weights,
            self.activations,
            self.product,
            columns=self.columns,
            values=self.values,
            length=self.length,
            bits=self.sum_bits,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums less the zero points' shares."""
        groups = len(operands["weights"])
        weights = operands["weights"].reshape(groups, -1, self.columns).swapaxes(1, 2)
        codes, zeros = operands["activations"].reshape(groups, -1), operands["zeros"][:, -1]
        found = zero_point_dots(self.weights, self.activations, weights, codes, zeros)
        return pack_columns(found, signed_shape(self.sum_bits))

    def _fields(self, groups: int, beats: int) -> dict[str, tuple[Format, tuple[int, ...]]]:
        """Return format and shape of every field of some beats."""
        return {
            "weights": (self.weights, (groups, beats, self.lanes)),
            "activations": (self.activations, (groups, beats, self.values)),
            "zeros": (self.weights, (groups, beats, self.columns)),
        }

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats."""
        random = np.random.default_rng(seed)
        fields = self._fields(groups, few_beats(seed))
        return {
            name: random_codes(random, fmt.bits, shape) for name, (fmt, shape) in fields.items()
        }

    def corners(self) -> Operands:
        """Return the longest groups of the extremes of all three."""
        most = (1 << self.weights.bits) - 1
        middle = 1 << self.activations.bits - 1
        extremes = [0, 1, most // 2, most], [0, 1, middle - 1, middle, 2 * middle - 1], [0, 1, most]
        corners = np.stack(np.meshgrid(*extremes), axis=-1).reshape(-1, 3).T
        fields = self._fields(corners.shape[1], self.length // self.values)
        return {
            name: np.broadcast_to(codes[:, None, None], shape)
            for codes, (name, (_, shape)) in zip(corners, fields.items(), strict=True)
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return weights about the zero point, which is in the middle, and activations about 0."""
        random = np.random.default_rng(seed)
        middle = 1 << self.weights.bits - 1
        fields = self._fields(groups, TYPICAL_BEATS)
        spread = random.normal(middle, SPREAD * middle, fields["weights"][1])
        return {
            "weights": np.clip(np.rint(spread), 0, 2 * middle - 1).astype(np.int64),
            "activations": gaussian_codes(self.activations, random, fields["activations"][1]),
            "zeros": np.full(fields["zeros"][1], middle),
        }

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product of a weight, and the correction of a sum."""
        formats = self.weights, self.activations
        total_bits = difference_bits(*formats, self.length)
        return (
            Obligation(
                what="product equals decoded values and *",
                circuit=lambda: self.product(*formats),
                reference=lambda: reference_product(*formats),
                input_bits=self.weights.bits + self.activations.bits,
            ),
            Obligation(
                what="correction equals total - zero * row",
                circuit=lambda: Correction(*formats, length=self.length),
                reference=lambda: CorrectionReference(*formats, length=self.length),
                input_bits=total_bits + row_bits(self.activations, self.length) + self.weights.bits,
            ),
            *decoder_obligations(*formats),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands]:
        """Return every weight, activation and zero point, one of each a group."""
        bits = self.weights.bits, self.activations.bits
        numbers = np.arange(1 << 2 * bits[0] + bits[1]).reshape(-1, 1, 1)
        weights, rest = np.divmod(numbers, 1 << bits[0] + bits[1])
        activations, zeros = np.divmod(rest, 1 << bits[0])
        single = replace(self, lanes=1, columns=1)
        return single, {"weights": weights, "activations": activations, "zeros": zeros}
