"""MixPE's W4A16 with a short accumulator as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import FP16, Format
from numerics.pe.rounding import RoundingPe
from numerics.pe.running import RunningDot
from rtl.element import Obligation
from rtl.fields import Operands
from rtl.pe.floating import Accumulator, FloatingPe
from rtl.pe.running.circuit import RunningCircuit, SignificandProduct, SignificandProductReference


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPe(FloatingPe, layer="rtl.pe.running.layer"):
    """Dot products, one product per cycle, aligned to the largest exponent so far."""

    model: RunningDot
    #: Width of the accumulator's mantissa in bits; ``None``: that of the model's guard bits.
    accumulator_bits: int | None = None

    def __post_init__(self) -> None:
        """Set the model's guard bits to fill the accumulator."""
        if self.accumulator_bits is not None:
            changed = self.model.with_accumulator(self.accumulator_bits, self.length)
            object.__setattr__(self, "model", changed)

    @property
    def weights(self) -> Format:
        """The format of the weights."""
        return self.model.weights

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats and guard bits."""
        model = self.model
        formats = f"{model.weights.name} weights and FP16 activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{model.guard_bits} guard bits, shifts truncate, groups of up to {self.length} values",
        )

    @property
    def accumulator(self) -> Accumulator:
        """The accumulator of a group."""
        assert self.weights.unit is not None
        return Accumulator(
            mantissa_bits=self.model.sum_bits(self.length),
            guard_bits=self.model.guard_bits,
            unit=self.weights.unit,
        )

    @property
    def rounding_model(self) -> RoundingPe:
        """The golden model."""
        return self.model

    def build(self) -> RunningCircuit:
        """Return a new component."""
        self.check_one_lane()
        return RunningCircuit(self.model, self.length)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        return self.accumulator.pack(*self.model.groups(*self.rows(operands)))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of the multiplier."""
        return (
            Obligation(
                what="shift and add equals *",
                circuit=lambda: SignificandProduct(self.model),
                reference=lambda: SignificandProductReference(self.model),
                input_bits=self.model.weights.bits + FP16.bits,
            ),
        )
