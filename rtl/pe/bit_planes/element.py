"""Dot products of nested codes, read in some of their bit planes, as a processing element."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from numerics.formats import FORMATS
from numerics.pe.bit_planes import PARENT_BITS, plane_dots
from rtl.arithmetic.group_sum import accumulator_width, signed_codes
from rtl.element import Obligation, ProcessingElement
from rtl.fields import CentredCodes, Codes, Field, Integers, Operands
from rtl.pe.bit_planes.circuit import BitPlanes, SignedSum, SignedSumReference, sum_bits

INT8 = FORMATS["int8"]
#: Number of lanes in the proof of the adder tree; the lanes are identical.
PROVED_LANES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BitPlanesPe(ProcessingElement, layer="rtl.pe.bit_planes.layer"):
    """One bit plane of all lanes per cycle; costs are measured with all eight planes."""

    weight_field: ClassVar[str] = "codes"
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Nested codes, activations, and the number of planes not read."""
        return (
            CentredCodes(
                name="codes",
                label="nested 8-bit",
                words="nested codes: with p planes read, the upper p bits c are 2 c - (2^p - 1)",
                lanes=self.lanes,
                high=1 << PARENT_BITS,
                extremes=(0, 1, 127, 128, 255),
                centre=127.5,
            ),
            Codes(name="activations", lanes=self.lanes, format=INT8),
            Integers(
                name="left_out",
                words="8 less the planes read, equal in all beats of a group",
                high=PARENT_BITS,
                extremes=range(PARENT_BITS),
                usual=0,
                is_of_group=True,
            ),
        )

    @property
    def cycles(self) -> int:
        """Cycles of a beat with every plane."""
        return PARENT_BITS

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: operands, lanes, cycles and unit."""
        return (
            f"{self.name}: dot products of nested codes and int8 activations; {self.source}",
            f"{self.lanes} lanes, groups of up to {self.length}, a cycle per plane read,",
            "sums in half steps of the planes read, whose number is the same in a group",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product in half steps."""
        return "the dot product in half steps of the planes read"

    @property
    def nearest_sweep(self) -> str:
        """Reason why no sweep simulates this PE: no scheme has nested codes."""
        return "adds exactly, but reads codes that no format of a sweep has"

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> BitPlanes:
        """Return a new component."""
        if not 1 <= self.lanes <= self.length:
            raise ValueError(f"{self.lanes} lanes; give 1 to the length, {self.length}")
        return BitPlanes(lanes=self.lanes, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sum of every beat's dot product, in the planes read."""
        groups, beats, lanes = operands["codes"].shape
        codes = operands["codes"].reshape(-1, lanes)
        activations = signed_codes(operands["activations"].reshape(-1, lanes))
        planes = PARENT_BITS - operands["left_out"].reshape(-1)
        sums = plane_dots(codes, activations, planes)
        return np.asarray(sums.reshape(groups, beats).sum(axis=1))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of the adder tree of a plane."""
        return (
            Obligation(
                what=f"sum of a plane of {PROVED_LANES} lanes equals its definition",
                circuit=lambda: SignedSum(PROVED_LANES),
                reference=lambda: SignedSumReference(PROVED_LANES),
                input_bits=PROVED_LANES * (1 + INT8.bits),
            ),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands]:
        """Return every combination of code, activation and number of planes."""
        numbers = np.arange(1 << 19).reshape(-1, 1, 1)
        codes, activations, left_out = numbers >> 11, numbers >> 3 & 255, numbers & 7
        every = {"codes": codes, "activations": activations, "left_out": left_out}
        return replace(self, lanes=1), every
