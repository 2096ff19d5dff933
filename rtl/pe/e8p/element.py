"""E8P as a processing element, and what its parts have to equal."""

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import Cat, Module, Mux

from numerics.codebooks import e8p
from numerics.formats import Format
from numerics.names.catalog import FORMATS
from numerics.pe.codebook_dot import e8p_dots
from rtl.arithmetic.group_sum import accumulator_width, signed_codes
from rtl.element import Obligation, Operands, ProcessingElement, few_beats, random_codes
from rtl.pe.dot_product.element import LENGTH, TYPICAL_BEATS, gaussian_codes
from rtl.pe.e8p.circuit import (
    ACTIVATION_BITS,
    CODE_BITS,
    MAGNITUDE_BITS,
    Decoder,
    E8pDot,
    Term,
    e8p_sum_bits,
)

INT8 = FORMATS["int8"]


class DecoderReference(Decoder):
    """The decoder from the rows and their parity in place of packed words."""

    def elaborate(self, platform: object) -> Module:
        """Return a table of magnitudes, and signs whose product the parity decides."""
        m = Module()
        row, signs = self.code[8:], self.code[:8]
        is_odd = Cat(row == i for i, h in enumerate(e8p.rows()) if e8p.is_odd(h)).any()
        m.d.comb += self.is_minus.eq(signs.xor())
        for element in range(e8p.DIMENSION):
            sign = signs[e8p.PLACES.index(element)]
            with m.Switch(row):
                for index, magnitudes in enumerate(e8p.rows()):
                    with m.Case(index):
                        m.d.comb += self.magnitude(element).eq(magnitudes[element])
            stored = {0: signs.xor(), e8p.DIMENSION - 1: is_odd}.get(element, 0)
            m.d.comb += self.signs[element].eq(sign ^ stored)
        return m


class TermReference(Term):
    """The term by ``*``; magnitudes are odd."""

    def elaborate(self, platform: object) -> Module:
        """Return the product."""
        m = Module()
        size = (self.magnitude | 1) * self.activation
        m.d.comb += self.term.eq(Mux(self.sign, -size, size))
        return m


@dataclass(frozen=True, slots=True, kw_only=True)
class E8pPe(ProcessingElement):
    """Eight lanes for every code of a beat."""

    length: int = LENGTH
    #: Of each sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """The codebook."""
        return "e8p"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return INT8.name

    @property
    def codes(self) -> int:
        """Codes of a beat."""
        if self.lanes < e8p.DIMENSION or self.lanes % e8p.DIMENSION:
            raise ValueError(f"{self.lanes} lanes; codes have 8 weights, give a multiple")
        return self.lanes // e8p.DIMENSION

    @property
    def notes(self) -> tuple[str, ...]:
        """Codebook and unit."""
        return (
            f"{self.name}: dot products of E8P weights and int8 activations; {self.source}",
            f"{self.codes} codes a beat, groups of up to {self.length} values, sums in quarters",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "codes": "E8P: row of the table in the upper byte, signs in the lower",
            "activations": "int8, eight of each code",
            "result": "the sum of products in quarters",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = e8p_sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> E8pDot:
        """Return a new component."""
        return E8pDot(codes=self.codes, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums in quarters."""
        groups = len(operands["codes"])
        activations = signed_codes(operands["activations"].reshape(groups, -1))
        return np.asarray(e8p_dots(operands["codes"].reshape(groups, -1), activations))

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats."""
        random = np.random.default_rng(seed)
        shape = groups, few_beats(seed)
        return {
            "codes": random_codes(random, CODE_BITS, (*shape, self.codes)),
            "activations": random_codes(random, INT8.bits, (*shape, self.lanes)),
        }

    def corners(self) -> Operands:
        """Return the longest groups of points of extreme sums with extreme activations."""
        points = e8p.points().astype(int)
        keys = [points.sum(axis=1), abs(points).sum(axis=1), points.max(axis=1)]
        found = {int(pick) for key in keys for pick in (key.argmin(), key.argmax())}
        corners = [
            (code, row)
            for code in sorted({0, 0xFFFF, *found})
            for row in (*([e] * 8 for e in (0, 1, 127, 128, 255)), *_signed(points[code]))
        ]
        beats = self.length // self.lanes
        codes = np.array([code for code, _ in corners]).reshape(-1, 1, 1)
        rows = np.array([row for _, row in corners])[:, None]
        return {
            "codes": np.broadcast_to(codes, (len(codes), beats, self.codes)),
            "activations": np.tile(rows, (1, beats, self.codes)),
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return random codes, as those of Gaussian weights nearly are."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS
        return {
            "codes": random.integers(0, 1 << CODE_BITS, (*shape, self.codes)),
            "activations": gaussian_codes(INT8, random, (*shape, self.lanes)),
        }

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the decoder and the term of an element."""
        return (
            Obligation(
                what="decoder equals rows and parity",
                circuit=Decoder,
                reference=DecoderReference,
                input_bits=CODE_BITS,
            ),
            Obligation(
                what="term equals *",
                circuit=Term,
                reference=TermReference,
                input_bits=MAGNITUDE_BITS + 1 + ACTIVATION_BITS,
            ),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands]:
        """Return every code with each of eight activations alone, which reads all its weights."""
        numbers = np.arange(8 << CODE_BITS).reshape(-1, 1, 1)
        one = numbers % 8 == np.arange(8)
        return replace(self, lanes=8), {"codes": numbers >> 3, "activations": one.astype(int)}


def _signed(point: np.ndarray) -> tuple[list[int], list[int]]:
    """Return activations that make a point's products as large, and as small, as they can be."""
    return [127 if w > 0 else 128 for w in point], [128 if w > 0 else 127 for w in point]
