"""BitMoD's dequantizer as a processing element, whose operands are group sums and scales."""

from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np

from numerics.pe.aligned import EXPONENT_BITS, AlignedDot
from numerics.pe.dequantizer import SCALE_BITS, columns
from rtl.element import Obligation, ProcessingElement
from rtl.fields import BeatShape, Field, Integers, Operands
from rtl.pe.dequantizer.circuit import Dequantizer, Fp32Group, Fp32GroupReference

#: Number of groups of typical channels, and of the longest ones.
TYPICAL_GROUPS, MOST_GROUPS = 8, 64
#: Exponents of typical channels and of every second random one: close enough that every group
#: changes the sum.
NEAR_EXPONENTS = range(18, 26)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponents(Integers):
    """Exponents of group sums; those of every second random channel are in ``NEAR_EXPONENTS``."""

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform exponents; in every second channel from ``NEAR_EXPONENTS``."""
        found = random.integers(1, self.high, shape)
        found[1::2] = self.typical(random, shape, drawn)[1::2]
        return found

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform exponents from ``NEAR_EXPONENTS``."""
        return random.integers(NEAR_EXPONENTS.start, NEAR_EXPONENTS.stop, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class DequantizerPe(ProcessingElement):
    """Dequantizer and FP32 accumulator of a column, behind a PE of group sums."""

    weight_field: ClassVar[str] = "scale"
    activation_field: ClassVar[str] = "mantissa"
    model: AlignedDot

    @property
    def fields(self) -> tuple[Field, ...]:
        """The sum of a group, and its scale."""
        place = 25 + self.model.guard_bits
        half = 1 << (self.model.accumulator_bits - 1)
        most_exponent, most_scale = self.model.most_exponent(self.length), (1 << SCALE_BITS) - 1
        return (
            Exponents(
                name="exponent",
                words="unsigned",
                high=most_exponent + 1,
                extremes=(0, 1, most_exponent),
            ),
            Integers(
                name="mantissa",
                label="group sums",
                words=f"a group is mantissa * 2^(exponent - {place})",
                low=-half,
                high=half,
                extremes=(-half, -1, 0, 1, half - 1),
            ),
            Integers(
                name="scale",
                label=f"{SCALE_BITS}-bit scales",
                words="unsigned",
                high=most_scale + 1,
                extremes=(0, 1, most_scale),
            ),
        )

    @property
    def longest_beats(self) -> int:
        """Number of groups of the longest channels."""
        return MOST_GROUPS

    @property
    def typical_beats(self) -> int:
        """Number of groups of typical channels."""
        return TYPICAL_GROUPS

    @property
    def cycles(self) -> int:
        """Cycles of a beat: the bits of a scale."""
        return SCALE_BITS

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: operands and rounding."""
        return (
            f"{self.name}: groups times {self.weight_name}, summed in FP32; {self.source}",
            f"{self.cycles} cycles per group, each addition rounded to nearest, ties to even",
        )

    @property
    def last_meaning(self) -> str:
        """The last group of a channel."""
        return "1 in the last group of a channel"

    @property
    def result_meaning(self) -> str:
        """The FP32 code of a channel."""
        return "the FP32 code of the sum of groups times scales"

    @property
    def nearest_sweep(self) -> str:
        """Reason why no sweep simulates this PE: its operands are sums."""
        return "is a part of a PE; its operands are sums of groups"

    def build(self) -> Dequantizer:
        """Return a new component."""
        if self.lanes != 1:
            raise ValueError(f"{self.lanes} lanes; a dequantizer processes one group at a time")
        self.model.check(self.length)
        return Dequantizer(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the FP32 codes of the sums."""
        parts = (operands[name][..., 0] for name in ("mantissa", "exponent", "scale"))
        sums: np.ndarray = columns(*parts, guard_bits=self.model.guard_bits)
        return sums.view(np.uint32).astype(np.int64)

    def layer(
        self, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
    ) -> NoReturn:
        """Raise ValueError; :class:`rtl.pe.column.element.ColumnPe` runs layers."""
        raise ValueError(
            "it is a part of a PE, and its operands are sums of groups; use bitmod-fp4-column,"
            " which contains it"
        )

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of the conversion to FP32."""
        return (
            Obligation(
                what="FP32 equals a case for every leading one",
                circuit=lambda: Fp32Group(self.model),
                reference=lambda: Fp32GroupReference(self.model),
                input_bits=self.model.accumulator_bits + SCALE_BITS + EXPONENT_BITS,
            ),
        )
