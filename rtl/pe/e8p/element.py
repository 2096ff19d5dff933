"""E8P as a processing element, and the references of its parts."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from amaranth.hdl import Cat, Module, Mux

from numerics.codebooks import e8p
from numerics.formats import FORMATS
from numerics.pe.codebook_dot import e8p_dots
from rtl.arithmetic.group_sum import accumulator_width, signed_codes
from rtl.element import Obligation, ProcessingElement
from rtl.fields import Codes, Field, Integers, Operands
from rtl.pe import nearest
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
    """Reference of :class:`Decoder`, from the rows and their parity instead of packed words."""

    def elaborate(self, platform: object) -> Module:
        """Return a table of magnitudes, and the signs; parity gives the product of all signs."""
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
    """Reference of :class:`Term` with ``*``; magnitudes are odd."""

    def elaborate(self, platform: object) -> Module:
        """Return the product."""
        m = Module()
        size = (self.magnitude | 1) * self.activation
        m.d.comb += self.term.eq(Mux(self.sign, -size, size))
        return m


@dataclass(frozen=True, slots=True, kw_only=True)
class E8pPe(ProcessingElement, layer="rtl.pe.e8p.layer"):
    """Dot products of E8P weights and INT8 activations; a code takes eight lanes."""

    weight_field: ClassVar[str] = "codes"
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Codes (Gaussian weights use all codes about equally often) and activations."""
        most = (1 << CODE_BITS) - 1
        return (
            Integers(
                name="codes",
                label="e8p",
                words="E8P: row of the table in the upper byte, signs in the lower",
                lanes=self.codes,
                high=most + 1,
                extremes=(0, most),
            ),
            Codes(name="activations", lanes=self.lanes, format=INT8, words="int8, eight per code"),
        )

    @property
    def codes(self) -> int:
        """Number of codes per beat."""
        if self.lanes < e8p.DIMENSION or self.lanes % e8p.DIMENSION:
            raise ValueError(f"{self.lanes} lanes; a code has 8 weights, so give a multiple of 8")
        return self.lanes // e8p.DIMENSION

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: codes, lengths and unit."""
        return (
            f"{self.name}: dot products of E8P weights and int8 activations; {self.source}",
            f"{self.codes} codes per beat, groups of up to {self.length} values, sums in quarters",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product in units of 1/4."""
        return "the dot product in units of 1/4"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of E8P."""
        return nearest.VALUES

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = e8p_sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> E8pDot:
        """Return a new component."""
        return E8pDot(codes=self.codes, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the dot products in units of 1/4."""
        groups = len(operands["codes"])
        activations = signed_codes(operands["activations"].reshape(groups, -1))
        return np.asarray(e8p_dots(operands["codes"].reshape(groups, -1), activations))

    def corners(self) -> Operands:
        """Return the longest groups of the points and activations with the largest dot products."""
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

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the decoder and of an element's term."""
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
        """Return every code with each activation in turn nonzero, so that every weight is read."""
        numbers = np.arange(8 << CODE_BITS).reshape(-1, 1, 1)
        one = numbers % 8 == np.arange(8)
        return replace(self, lanes=8), {"codes": numbers >> 3, "activations": one.astype(int)}


def _signed(point: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the activations with a point's largest and with its lowest dot product."""
    return [127 if w > 0 else 128 for w in point], [128 if w > 0 else 127 for w in point]
