"""BitMoD's PE as a processing element."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from numerics.formats import Format
from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_dots import aligned_dots
from numerics.pe.aligned_limits import check_bits
from numerics.pe.rounding import RoundingPe
from rtl.arithmetic.normalizer import Normalizer, NormalizerReference, normalizer_bits
from rtl.arithmetic.serial_terms import TermTable, serial_term
from rtl.element import Obligation
from rtl.fields import Operands
from rtl.pe.aligned.circuit import AlignedCircuit
from rtl.pe.floating import Accumulator, FloatingPe
from rtl.pe.rows import selected_codes

if TYPE_CHECKING:
    from numerics.schemes.tensor import QuantizedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedPe(FloatingPe, layer="rtl.pe.aligned.layer"):
    """Dot products of weights in terms and FP16 activations, aligned to the largest exponent."""

    source: str = "BitMoD, arXiv:2411.11745, section IV-B"
    #: MACs per beat; BitMoD's PE has four.
    lanes: int = 4
    model: AlignedDot
    #: Width of the accumulator's mantissa in bits; ``None``: that of the model.
    accumulator_bits: int | None = None

    def __post_init__(self) -> None:
        """Set the lanes and accumulator width of the model."""
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
        """Cycles of a beat: the terms of a weight."""
        return self.model.generator.cycles

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, lanes, rounding."""
        model = self.model
        operands = f"{self.weights.name} weights and FP16 activations"
        shifts = f"{model.guard_bits} guard bits, shifts {model.rounding}"
        return (
            f"{self.name}: dot products of {operands}; {self.source}",
            f"{self.lanes} lanes, {self.cycles} cycles a beat, groups of up to {self.length},",
            shifts,
        )

    @property
    def accumulator(self) -> Accumulator:
        """The accumulator of a group."""
        return Accumulator(
            mantissa_bits=self.model.accumulator_bits,
            guard_bits=self.model.guard_bits,
            unit=self.model.generator.unit,
        )

    @property
    def rounding_model(self) -> RoundingPe:
        """The golden model."""
        return self.model

    def build(self) -> AlignedCircuit:
        """Return a new component."""
        self.model.check(self.length)
        check_bits(self.model)
        return AlignedCircuit(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        return self.accumulator.pack(*aligned_dots(self.model, *self.rows(operands)))

    def codes(self, weights: "QuantizedTensor") -> np.ndarray:
        """Return codes; the bits above a code hold its group's selector, if the format has one."""
        return selected_codes(self.weights, weights)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the term circuit and the normalizer."""
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
