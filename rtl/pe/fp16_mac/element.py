"""PEs with FP16 activations, or weights too: operands, and what they have in common."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from numerics.formats import FP16, Format
from numerics.pe.fp16_mac import fp16_macs
from rtl.element import Obligation, Operands, ProcessingElement, few_beats, random_codes
from rtl.pe.dot_product.element import extremes, gaussian_codes
from rtl.pe.fp16_mac.circuit import Fp16Mac, Fp16Product, Fp16ProductReference

TYPICAL_BEATS = 40
#: Exponent fields of half of the random groups, so that no operand hides the others.
NEAR_FIELDS = range(12, 19)
_SIGN_AND_MANTISSA = 0x83FF
#: Zero, the smallest, both sides of the smallest normal, one, the largest, infinity, NaN.
_MAGNITUDES = (0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7FFF)
FP16_CORNERS = (*_MAGNITUDES, *(code | 0x8000 for code in _MAGNITUDES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Pe(ProcessingElement):
    """A PE whose beats have weights of some format and FP16 activations."""

    length: int = 128

    @property
    @abstractmethod
    def weights(self) -> Format:
        """The format of the weights."""

    @property
    def weight_name(self) -> str:
        """The name of the weights' format."""
        return self.weights.name

    @property
    def activation_name(self) -> str:
        """FP16."""
        return FP16.name

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {"weights": self.weights, "activations": FP16, "result": self.result_meaning}

    @property
    @abstractmethod
    def result_meaning(self) -> str:
        """What a result is."""

    def random_beats(self, seed: int) -> int:
        """Return the beats of random groups."""
        return few_beats(seed)

    def check_one_lane(self) -> None:
        """Raise ValueError for more lanes than one, whose order of additions nothing says."""
        if self.lanes != 1:
            raise ValueError(f"{self.lanes} lanes; {self.name} adds one product a cycle")

    def beats(self, weights: np.ndarray, activations: np.ndarray) -> Operands:
        """Return rows of codes, each of shape (groups, length), as beats of the lanes."""
        shape = (len(weights), -1, self.lanes)
        return {"weights": weights.reshape(shape), "activations": activations.reshape(shape)}

    def rows(self, operands: Operands) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of weights and activations, each of shape (groups, length)."""
        weights, activations = operands["weights"], operands["activations"]
        shape = len(weights), -1
        return weights.reshape(shape), activations.reshape(shape).astype(np.uint16)

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats; every second one has exponents near one another."""
        random = np.random.default_rng(seed)
        shape = groups, self.random_beats(seed) * self.lanes
        weights, activations = (_any_or_near(random, fmt, shape) for fmt in (self.weights, FP16))
        return self.beats(weights, activations)

    def corners(self) -> Operands:
        """Return groups of extreme codes: each of one format against each of the other."""
        weights = FP16_CORNERS if self.weights == FP16 else extremes(self.weights)
        pairs = [(w, a) for w in weights for a in FP16_CORNERS]
        length = self.length - self.length % self.lanes
        rows = np.repeat(np.array(pairs)[:, :, None], length, axis=2)
        return self.beats(rows[:, 0], rows[:, 1])

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return codes of Gaussian numbers."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS * self.lanes
        weights = gaussian_codes(self.weights, random, shape)
        return self.beats(weights, gaussian_codes(FP16, random, shape))


def _any_or_near(random: np.random.Generator, fmt: Format, shape: tuple[int, int]) -> np.ndarray:
    codes = random_codes(random, fmt.bits, shape)
    if fmt == FP16:
        fields = random.integers(NEAR_FIELDS.start, NEAR_FIELDS.stop, shape, dtype=np.uint16)
        codes[1::2] = (codes & _SIGN_AND_MANTISSA | fields << 10)[1::2]
    return codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16MacPe(Fp16Pe):
    """FP16 times FP16, each product added in FP32."""

    @property
    def weights(self) -> Format:
        """FP16."""
        return FP16

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats and rounding."""
        return (
            f"{self.name}: sums of FP16 products; {self.source}",
            "each addition is rounded to nearest, ties to even",
        )

    @property
    def result_meaning(self) -> str:
        """A number."""
        return "an FP32 code"

    def build(self) -> Fp16Mac:
        """Return a new component."""
        self.check_one_lane()
        return Fp16Mac()

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the codes of the sums."""
        weights, activations = self.rows(operands)
        sums: np.ndarray = fp16_macs(weights.astype(np.uint16), activations)
        return sums.view(np.uint32).astype(np.int64)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product."""
        return (
            Obligation(
                what="product equals a case for every leading one",
                circuit=Fp16Product,
                reference=Fp16ProductReference,
                input_bits=32,
            ),
        )
