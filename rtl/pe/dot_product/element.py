"""Dot products of two formats in exact integers, as a processing element."""

import math
from dataclasses import dataclass, replace

import numpy as np

from numerics.formats import Format
from numerics.pe.exact_dot import exact_dots, integer_table, sum_bits
from rtl.arithmetic.decoder import decoder_obligations
from rtl.arithmetic.products import reference_product
from rtl.arithmetic.terms import Serial
from rtl.element import (
    SPREAD,
    Obligation,
    Operands,
    ProcessingElement,
    few_beats,
    random_codes,
)
from rtl.pe.dot_product.circuit import DotProduct, ProductFactory
from rtl.verilog.header import in_units

#: Values of a group that an accumulator holds exactly.
LENGTH = 128
#: Pairs of codes up to which all of them are tried.
EXHAUSTIVE_PAIRS = 2**24
TYPICAL_BEATS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DotProductPe(ProcessingElement):
    """One dot product PE: its formats, its circuit for a product, its lanes."""

    weights: Format
    activations: Format
    product: ProductFactory
    length: int = LENGTH
    accumulator_bits: int | None = None
    #: Makes one term of each product a cycle; all of it in one if there is none.
    serial: Serial | None = None

    @property
    def weight_name(self) -> str:
        """The format of the weights."""
        return self.weights.name

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return self.activations.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, lanes and lengths."""
        formats = f"{self.weights.name} weights and {self.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.lanes} lanes a beat, groups of up to {self.length} values",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "weights": self.weights,
            "activations": self.activations,
            "result": f"the sum of products{in_units(self.weights.unit, self.activations.unit)}",
        }

    @property
    def cycles(self) -> int:
        """Cycles of a beat: the terms of a product, one after another."""
        return self.serial.cycles if self.serial else 1

    @property
    def sum_bits(self) -> int:
        """Bits of the accumulator."""
        return self.accumulator_bits or sum_bits(self.weights, self.activations, self.length)

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

    def beats(self, weights: np.ndarray, activations: np.ndarray) -> Operands:
        """Return rows of codes, each of shape (groups, length), as beats of the lanes."""
        groups, length = weights.shape
        if length % self.lanes:
            raise ValueError(f"rows of {length} values for {self.lanes} lanes; give a multiple")
        shape = (groups, length // self.lanes, self.lanes)
        return {"weights": weights.reshape(shape), "activations": activations.reshape(shape)}

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the exact sums, in products of the formats' units."""
        weights, activations = operands["weights"], operands["activations"]
        rows = len(weights), -1
        return exact_dots(
            self.weights, self.activations, weights.reshape(rows), activations.reshape(rows)
        )

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats."""
        random = np.random.default_rng(seed)
        shape = (groups, few_beats(seed) * self.lanes)
        weights, activations = (
            random_codes(random, fmt.bits, shape) for fmt in (self.weights, self.activations)
        )
        return self.beats(weights, activations)

    def corners(self) -> Operands:
        """Return groups of extreme codes: each of one format against each of the other."""
        pairs = [(w, a) for w in extremes(self.weights) for a in extremes(self.activations)]
        length = self.length - self.length % self.lanes
        rows = np.repeat(np.array(pairs)[:, :, None], length, axis=2)
        return self.beats(rows[:, 0], rows[:, 1])

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return codes of Gaussian numbers."""
        random = np.random.default_rng(seed)
        shape = (groups, TYPICAL_BEATS * self.lanes)
        weights = gaussian_codes(self.weights, random, shape)
        return self.beats(weights, gaussian_codes(self.activations, random, shape))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product, which has to equal decoded values and ``*``, and the decoders."""
        formats = self.weights, self.activations
        return (
            Obligation(
                what="product equals decoded values and *",
                circuit=lambda: self.product(*formats),
                reference=lambda: reference_product(*formats),
                input_bits=self.weights.bits + self.activations.bits,
            ),
            *decoder_obligations(*formats),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands] | None:
        """Return every pair of codes, one a group."""
        bits = self.activations.bits
        pairs = 2 ** (self.weights.bits + bits)
        if pairs > EXHAUSTIVE_PAIRS:
            return None
        weights, activations = np.divmod(np.arange(pairs), 2**bits)
        single = replace(self, lanes=1)
        return single, single.beats(weights[:, None], activations[:, None])


def spread(fmt: Format) -> float:
    """Return the standard deviation of typical operands over the largest value of their format.

    Ternary weights are numbers over their mean magnitude, BitNet b1.58, arXiv:2402.17764.

    >>> from numerics import FORMATS
    >>> from rtl.pe.lookup.circuit import I2_S
    >>> round(spread(I2_S), 3), spread(FORMATS["int8"]) == SPREAD
    (1.253, True)
    """
    is_ternary = sorted(set(integer_table(fmt))) == [-1, 0, 1]
    return math.sqrt(math.pi / 2) if is_ternary else SPREAD


def gaussian_codes(fmt: Format, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return the codes nearest to Gaussian numbers, in units of the format."""
    table = np.array(integer_table(fmt))
    wanted = random.normal(0.0, spread(fmt) * abs(table).max(), shape)
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    return order[np.searchsorted(middles, wanted)]


def extremes(fmt: Format) -> list[int]:
    """Return the codes of the least, the largest and the smallest values, and of zeros."""
    table = np.array(integer_table(fmt))
    small = np.where(table == 0, table.max() + 1, np.abs(table))
    found = {int(table.argmin()), int(table.argmax()), int(small.argmin()), len(table) - 1}
    return sorted(found | set(np.flatnonzero(table == 0).tolist()))
