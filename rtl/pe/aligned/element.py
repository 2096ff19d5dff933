"""BitMoD's PE as a processing element."""

from dataclasses import dataclass, replace

import numpy as np

from numerics.formats import Format
from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_arrays import aligned_dots, check_bits
from rtl.arithmetic.normalizer import Normalizer, NormalizerReference, normalizer_bits
from rtl.arithmetic.serial_terms import TermTable, serial_term
from rtl.element import Obligation, Operands
from rtl.pe.aligned.circuit import AlignedCircuit
from rtl.pe.fp16_mac.element import Fp16Pe
from rtl.verilog.header import in_units

SOURCE = "BitMoD, arXiv:2411.11745, section IV-B"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedPe(Fp16Pe):
    """Lanes of terms times FP16 activations, aligned to the largest exponent."""

    model: AlignedDot
    #: Of the mantissa; the model's if none.
    accumulator_bits: int | None = None

    def __post_init__(self) -> None:
        """Give the model the lanes of the PE, and its accumulator."""
        bits = self.accumulator_bits or self.model.accumulator_bits
        if (self.lanes, bits) != (self.model.lanes, self.model.accumulator_bits):
            changed = replace(self.model, lanes=self.lanes, accumulator_bits=bits)
            object.__setattr__(self, "model", changed)

    @property
    def weights(self) -> Format:
        """The format of the weights."""
        return self.model.generator.weights

    @property
    def cycles(self) -> int:
        """Terms of a weight."""
        return self.model.generator.cycles

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, lanes, rounding."""
        model = self.model
        operands = f"{self.weights.name} weights and FP16 activations"
        shifts = f"{model.guard_bits} guard bits, shifts {model.rounding}"
        return (
            f"{self.name}: dot products of {operands}; {self.source}",
            f"{self.lanes} lanes, {self.cycles} cycles a beat, groups of up to {self.length},",
            shifts,
        )

    @property
    def result_meaning(self) -> str:
        """A mantissa and its exponent."""
        place = 25 + self.model.guard_bits
        return f"mantissa * 2^(exponent - {place}){in_units(self.model.generator.unit)}"

    def build(self) -> AlignedCircuit:
        """Return a new component."""
        self.model.check(self.length)
        check_bits(self.model)
        return AlignedCircuit(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        weights, activations = self.rows(operands)
        mantissas, exponents = aligned_dots(self.model, weights, activations)
        return packed(mantissas, exponents, self.model.accumulator_bits)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the terms of weights, and what makes a sum fit the accumulator."""
        model, generator = self.model, self.model.generator
        return (
            Obligation(
                what="terms equal a table of the model's",
                circuit=lambda: serial_term(generator),
                reference=lambda: TermTable(generator),
                input_bits=self.weights.bits + (generator.cycles - 1).bit_length(),
            ),
            Obligation(
                what="accumulator equals a case for every shift",
                circuit=lambda: Normalizer(model),
                reference=lambda: NormalizerReference(model),
                input_bits=normalizer_bits(model),
            ),
        )


def packed(mantissas: np.ndarray, exponents: np.ndarray, mantissa_bits: int) -> np.ndarray:
    """Return accumulators as numbers, their mantissas in the low bits.

    >>> packed(np.array([-1, 3]), np.array([2, 0]), 4).tolist()
    [47, 3]
    """
    found: np.ndarray = exponents << mantissa_bits | mantissas & ((1 << mantissa_bits) - 1)
    return found


def aligned_pe(name: str, model: AlignedDot, length: int = 128) -> AlignedPe:
    """Return the PE of a model."""
    return AlignedPe(name=name, source=SOURCE, model=model, lanes=model.lanes, length=length)
