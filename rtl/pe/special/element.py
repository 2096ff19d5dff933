"""BitMoD's PE with the special value as a field of the beat, as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import Format
from numerics.mixtures.bitmod import BitMod
from numerics.names.catalog import SCHEMES
from numerics.pe.aligned_limits import check_bits
from numerics.pe.rounding import RoundingPe
from numerics.pe.special import SPECIAL_BITS, SpecialDot, WindowFormat
from rtl.arithmetic.normalizer import Normalizer, NormalizerReference, normalizer_bits
from rtl.element import Obligation
from rtl.fields import BeatShape, Codes, Field, Integers, Operands, gaussian_codes
from rtl.pe.floating import Accumulator, FloatingPe
from rtl.pe.fp16_mac.element import Fp16Codes
from rtl.pe.special.circuit import SpecialCircuit, SpecialTerm, SpecialTermTable

_WINDOWS = WindowFormat()
#: Special values (sign, and magnitude in units of 1/2): 0, the smallest and largest of each sign,
#: and values with one, two and more one bits.
_CORNERS = (0, 1, 16, 24, 31, 32, 33, 48, 63)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialValues(Integers):
    """Special values; each typical group has one of BitMoD's."""

    high: int = 1 << SPECIAL_BITS
    extremes: tuple[int, ...] = _CORNERS
    scheme: BitMod

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return one of the scheme's values for each group."""
        values = [_WINDOWS.encode(fmt.special) for fmt in self.scheme.formats]
        chosen = random.integers(0, len(values), shape[0])
        return np.broadcast_to(np.array(values)[chosen, None, None], shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialCodes(Codes):
    """Codes of a format extended by the special value of the beat."""

    scheme: BitMod

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return the codes nearest to Gaussian numbers, in the format of each group."""
        formats = {_WINDOWS.encode(fmt.special): fmt for fmt in self.scheme.formats}
        of_groups = [formats[code] for code in drawn["special"][:, 0, 0].tolist()]
        return np.stack([gaussian_codes(fmt, random, shape[1:]) for fmt in of_groups])


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialPe(FloatingPe, layer="rtl.pe.special.layer"):
    """Dot products of weights whose code of minus zero stands for the beat's special value."""

    base: Format
    #: Width of the accumulator's mantissa in bits.
    accumulator_bits: int = 15

    @property
    def weights(self) -> Format:
        """The format of the weights without their special value."""
        return self.base

    @property
    def fields(self) -> tuple[Field, ...]:
        """The special value, weights, and FP16 activations."""
        scheme = SCHEMES[self.scheme()]
        assert isinstance(scheme, BitMod)
        words = (
            f"value of code {self.dot.minus_zero}: sign, and magnitude in units of 1/2,"
            " whose two highest one bits count"
        )
        label = f"{self.base.name} with a special value"
        return (
            SpecialValues(name="special", words=words, scheme=scheme),
            SpecialCodes(
                name="weights", lanes=self.lanes, format=self.base, label=label, scheme=scheme
            ),
            Fp16Codes(name="activations", lanes=self.lanes),
        )

    @property
    def dot(self) -> SpecialDot:
        """The golden model of the PE."""
        return SpecialDot(base=self.base, lanes=self.lanes, accumulator_bits=self.accumulator_bits)

    @property
    def rounding_model(self) -> RoundingPe:
        """The golden model."""
        return self.dot

    @property
    def cycles(self) -> int:
        """Cycles of a beat: the terms of a weight."""
        return self.dot.model.generator.cycles

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, lanes, cycles and rounding."""
        guard, rounding = self.dot.model.guard_bits, self.dot.model.rounding
        return (
            f"{self.name}: dot products of {self.weight_name} and FP16 activations; {self.source}",
            f"{self.lanes} lanes, {self.cycles} cycles a beat, groups of up to {self.length},",
            f"{guard} guard bits, shifts {rounding}",
        )

    @property
    def accumulator(self) -> Accumulator:
        """The accumulator of a group."""
        return Accumulator(
            mantissa_bits=self.accumulator_bits,
            guard_bits=self.dot.model.guard_bits,
            unit=_WINDOWS.unit,
        )

    def build(self) -> SpecialCircuit:
        """Return a new component."""
        self.dot.model.check(self.length)
        check_bits(self.dot.model)
        return SpecialCircuit(self.dot)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        weights, activations = self.rows(operands)
        specials = np.repeat(operands["special"][..., 0], self.lanes, axis=1)
        return self.accumulator.pack(*self.dot.groups(weights, specials, activations))

    def scheme(self) -> str:
        """Return BitMoD's scheme of the base format."""
        return f"bitmod-fp{self.base.bits}"

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the term circuit and the normalizer."""
        dot = self.dot
        return (
            Obligation(
                what="terms equal a table of the model's",
                circuit=lambda: SpecialTerm(dot),
                reference=lambda: SpecialTermTable(dot),
                input_bits=self.base.bits + SPECIAL_BITS + 1,
            ),
            Obligation(
                what="accumulator equals a case for every shift",
                circuit=lambda: Normalizer(dot.model),
                reference=lambda: NormalizerReference(dot.model),
                input_bits=normalizer_bits(dot.model),
            ),
        )
