"""BitMoD's PE with a special value that comes with each beat, as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import FP16, Format
from numerics.mixtures.bitmod import BitMod
from numerics.names.catalog import SCHEMES
from numerics.pe.aligned_arrays import check_bits
from numerics.pe.special import SPECIAL_BITS, SpecialDot, WindowFormat
from rtl.arithmetic.normalizer import Normalizer, NormalizerReference, normalizer_bits
from rtl.element import Obligation, Operands
from rtl.pe.aligned.element import packed
from rtl.pe.dot_product.element import gaussian_codes
from rtl.pe.fp16_mac.element import TYPICAL_BEATS, Fp16Pe
from rtl.pe.special.circuit import SpecialCircuit, SpecialTerm, SpecialTermTable
from rtl.verilog.header import in_units

_WINDOWS = WindowFormat()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialPe(Fp16Pe):
    """Lanes of codes whose minus zero stands for the special value of their beat."""

    base: Format
    #: Of the mantissa.
    accumulator_bits: int = 15

    @property
    def weights(self) -> Format:
        """The format of the weights without their special value."""
        return self.base

    @property
    def weight_name(self) -> str:
        """The format, and what is special."""
        return f"{self.base.name} with a special value"

    @property
    def dot(self) -> SpecialDot:
        """The model."""
        return SpecialDot(base=self.base, lanes=self.lanes, accumulator_bits=self.accumulator_bits)

    @property
    def cycles(self) -> int:
        """Terms of a weight."""
        return self.dot.model.generator.cycles

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, lanes, rounding."""
        guard, rounding = self.dot.model.guard_bits, self.dot.model.rounding
        return (
            f"{self.name}: dot products of {self.weight_name} and FP16 activations; {self.source}",
            f"{self.lanes} lanes, {self.cycles} cycles a beat, groups of up to {self.length},",
            f"{guard} guard bits, shifts {rounding}",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "weights": self.base,
            "activations": FP16,
            "special": f"value of code {self.dot.minus_zero}: sign, and magnitude in halves,"
            " of which the two highest ones count",
            "result": self.result_meaning,
        }

    @property
    def result_meaning(self) -> str:
        """A mantissa and its exponent."""
        place = 25 + self.dot.model.guard_bits
        return f"mantissa * 2^(exponent - {place}){in_units(_WINDOWS.unit)}"

    def build(self) -> SpecialCircuit:
        """Return a new component."""
        self.dot.model.check(self.length)
        check_bits(self.dot.model)
        return SpecialCircuit(self.dot)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        weights, activations = self.rows(operands)
        specials = np.repeat(operands["special"][..., 0], self.lanes, axis=1)
        mantissas, exponents = self.dot.groups(weights, specials, activations)
        return packed(mantissas, exponents, self.dot.model.accumulator_bits)

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups whose every beat has a special value of its own."""
        found = Fp16Pe.random(self, groups, seed=seed)
        shape = (*found["weights"].shape[:2], 1)
        specials = np.random.default_rng(seed).integers(0, 1 << SPECIAL_BITS, shape, np.uint8)
        return {**found, "special": specials}

    def corners(self) -> Operands:
        """Return groups of extreme codes with extreme special values."""
        found = Fp16Pe.corners(self)
        specials = np.array([0, 1, 16, 24, 31, 32, 33, 48, 63])
        rows = np.tile(specials, len(found["weights"]))
        repeated = {name: np.repeat(codes, len(specials), axis=0) for name, codes in found.items()}
        beats = found["weights"].shape[1]
        return {**repeated, "special": np.repeat(rows[:, None, None], beats, axis=1)}

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian numbers with one of BitMoD's special values for each group."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS * self.lanes
        scheme = SCHEMES[f"bitmod-fp{self.base.bits}"]
        assert isinstance(scheme, BitMod)
        values = [fmt.decode(self.dot.minus_zero) for fmt in scheme.formats]
        chosen = random.integers(0, len(values), groups)
        weights = np.stack([gaussian_codes(scheme.formats[i], random, shape[1:]) for i in chosen])
        specials = np.array([_WINDOWS.encode(value) for value in values])[chosen]
        found = self.beats(weights, gaussian_codes(FP16, random, shape))
        beats = found["weights"].shape[1]
        return {**found, "special": np.repeat(specials[:, None, None], beats, axis=1)}

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the terms of codes and special values, and what makes a sum fit."""
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
