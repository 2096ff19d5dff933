"""BitMoD's dequantizer as a processing element: its operands are groups and their scales."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import Format
from numerics.pe.aligned import EXPONENT_BITS, AlignedDot
from numerics.pe.dequantizer import SCALE_BITS, columns
from rtl.element import Obligation, Operands, ProcessingElement, few_beats
from rtl.pe.dequantizer.circuit import Dequantizer, Fp32Group, Fp32GroupReference

TYPICAL_GROUPS = 8
#: Exponents of half of the random channels, so that no group hides the others.
NEAR_EXPONENTS = range(18, 26)


@dataclass(frozen=True, slots=True, kw_only=True)
class DequantizerPe(ProcessingElement):
    """A column's dequantizer and accumulator for the groups of a PE."""

    model: AlignedDot
    #: Values of a group.
    length: int = 128

    @property
    def weight_name(self) -> str:
        """Scales."""
        return f"{SCALE_BITS}-bit scales"

    @property
    def activation_name(self) -> str:
        """Groups."""
        return "group sums"

    @property
    def cycles(self) -> int:
        """Bits of a scale."""
        return SCALE_BITS

    @property
    def notes(self) -> tuple[str, ...]:
        """Operands and rounding."""
        return (
            f"{self.name}: groups times {self.weight_name}, summed in FP32; {self.source}",
            f"{self.cycles} cycles a group, each addition rounded to nearest, ties to even",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        place = 25 + self.model.guard_bits
        return {
            "mantissa": f"a group is mantissa * 2^(exponent - {place})",
            "exponent": "unsigned",
            "scale": "unsigned",
            "last": "1 in the last group of a channel",
            "result": "the FP32 code of the sum of groups times scales",
        }

    def build(self) -> Dequantizer:
        """Return a new component."""
        if self.lanes != 1:
            raise ValueError(f"{self.lanes} lanes; a dequantizer takes one group at a time")
        self.model.check(self.length)
        return Dequantizer(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the codes of the sums."""
        parts = (operands[name][..., 0] for name in ("mantissa", "exponent", "scale"))
        sums: np.ndarray = columns(*parts, guard_bits=self.model.guard_bits)
        return sums.view(np.uint32).astype(np.int64)

    def _groups(
        self, random: np.random.Generator, shape: tuple[int, int], exponents: np.ndarray
    ) -> Operands:
        half = 1 << (self.model.accumulator_bits - 1)
        found = {
            "mantissa": random.integers(-half, half, shape),
            "exponent": exponents,
            "scale": random.integers(0, 1 << SCALE_BITS, shape),
        }
        return {name: codes[..., None] for name, codes in found.items()}

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return channels of few groups; every second one has exponents near one another."""
        random, shape = np.random.default_rng(seed), (groups, few_beats(seed))
        exponents = random.integers(1, self.model.most_exponent(self.length) + 1, shape)
        near = random.integers(NEAR_EXPONENTS.start, NEAR_EXPONENTS.stop, shape)
        exponents[1::2] = near[1::2]
        return self._groups(random, shape, exponents)

    def corners(self) -> Operands:
        """Return channels of extreme groups and scales, and zeros among them."""
        half = 1 << (self.model.accumulator_bits - 1)
        mantissas, scales = (-half, -1, 0, 1, half - 1), (0, 1, (1 << SCALE_BITS) - 1)
        exponents = 0, 1, self.model.most_exponent(self.length)
        parts = np.stack(np.meshgrid(mantissas, exponents, scales), axis=-1).reshape(-1, 1, 3, 1)
        rows = np.repeat(parts, 64, axis=1)
        return {"mantissa": rows[:, :, 0], "exponent": rows[:, :, 1], "scale": rows[:, :, 2]}

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return groups whose exponents are near one another."""
        random, shape = np.random.default_rng(seed), (groups, TYPICAL_GROUPS)
        near = random.integers(NEAR_EXPONENTS.start, NEAR_EXPONENTS.stop, shape)
        return self._groups(random, shape, near)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return what makes a product FP32."""
        return (
            Obligation(
                what="FP32 equals a case for every leading one",
                circuit=lambda: Fp32Group(self.model),
                reference=lambda: Fp32GroupReference(self.model),
                input_bits=self.model.accumulator_bits + SCALE_BITS + EXPONENT_BITS,
            ),
        )
