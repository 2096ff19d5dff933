"""The base of PEs with FP16 activations, and the FP16 multiply-accumulate PE."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from numerics.formats import FP16, Format
from numerics.pe.fp16_mac import Fp16Dot, fp16_macs
from numerics.pe.rounding import RoundingPe
from rtl.element import Obligation
from rtl.fields import BeatShape, Codes, Field, Operands, random_codes
from rtl.pe.fp16_mac.circuit import Fp16Mac, Fp16Product, Fp16ProductReference
from rtl.pe.rows import RowPe

#: Stored exponents of every second random group: close enough that every product changes the sum.
NEAR_FIELDS = range(12, 19)
_SIGN_AND_MANTISSA = 0x83FF
#: FP16 codes: zero, smallest and largest subnormal, smallest normal, 1, largest, infinity, NaN.
_MAGNITUDES = (0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7FFF)
FP16_CORNERS = (*_MAGNITUDES, *(code | 0x8000 for code in _MAGNITUDES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Codes(Codes):
    """FP16 codes; stored exponents of every second random group are in ``NEAR_FIELDS``."""

    format: Format = FP16

    @property
    def corners(self) -> Sequence[int]:
        """Codes of every class of number, with both signs."""
        return FP16_CORNERS

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform codes; every second group has stored exponents from ``NEAR_FIELDS``."""
        codes = random_codes(random, FP16.bits, shape)
        fields = random.integers(NEAR_FIELDS.start, NEAR_FIELDS.stop, shape, dtype=np.uint16)
        codes[1::2] = (codes & _SIGN_AND_MANTISSA | fields << 10)[1::2]
        return codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Pe(RowPe):
    """A PE of dot products of weights in some format and FP16 activations."""

    @property
    @abstractmethod
    def weights(self) -> Format:
        """The format of the weights."""

    @property
    def formats(self) -> Mapping[str, Format]:
        """Formats of weights and activations."""
        return {"weights": self.weights, "activations": FP16}

    @property
    def fields(self) -> tuple[Field, ...]:
        """Weights, and FP16 activations."""
        return (
            Codes(name="weights", lanes=self.lanes, format=self.weights),
            Fp16Codes(name="activations", lanes=self.lanes),
        )

    def scheme(self) -> str:
        """Return the scheme with the weights' format."""
        return self.weights.name

    def check_one_lane(self) -> None:
        """Raise ValueError for several lanes; the order of their additions is undefined."""
        if self.lanes != 1:
            raise ValueError(f"{self.lanes} lanes; {self.name} adds one product per cycle")

    def rows(self, operands: Operands) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of weights and activations, each of shape (groups, length)."""
        weights, activations = RowPe.rows(self, operands)
        return weights, activations.astype(np.uint16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16MacPe(Fp16Pe, layer="rtl.pe.fp16_mac.layer"):
    """FP16 multiply-accumulate: exact products, added in FP32."""

    @property
    def weights(self) -> Format:
        """Format of weights."""
        return FP16

    @property
    def fields(self) -> tuple[Field, ...]:
        """Weights and activations in FP16."""
        return Fp16Codes(name="weights"), Fp16Codes(name="activations")

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats and rounding."""
        return (
            f"{self.name}: FP16 dot products, added in FP32; {self.source}",
            "each addition is rounded to nearest, ties to even",
        )

    @property
    def result_meaning(self) -> str:
        """The FP32 code of a dot product."""
        return "an FP32 code"

    @property
    def rounding_model(self) -> RoundingPe:
        """The golden model: additions in FP32."""
        return Fp16Dot()

    def build(self) -> Fp16Mac:
        """Return a new component."""
        self.check_one_lane()
        return Fp16Mac()

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the FP32 codes of the sums."""
        weights, activations = self.rows(operands)
        sums: np.ndarray = fp16_macs(weights.astype(np.uint16), activations)
        return sums.view(np.uint32).astype(np.int64)

    def values(self, results: np.ndarray) -> np.ndarray:
        """Return the values of FP32 codes."""
        return fp32_numbers(results)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of the multiplier."""
        return (
            Obligation(
                what="product equals a case for every leading one",
                circuit=Fp16Product,
                reference=Fp16ProductReference,
                input_bits=32,
            ),
        )


def fp32_numbers(results: np.ndarray) -> np.ndarray:
    """Return the values of FP32 codes."""
    return results.astype(np.uint32).view(np.float32)
