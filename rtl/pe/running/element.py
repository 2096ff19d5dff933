"""MixPE's W4A16 with a short accumulator as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import FP16, Format
from numerics.pe.running import RunningDot
from rtl.element import Obligation, Operands
from rtl.pe.aligned.element import packed
from rtl.pe.fp16_mac.element import Fp16Pe
from rtl.pe.running.circuit import RunningCircuit, SignificandProduct, SignificandProductReference
from rtl.verilog.header import in_units


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPe(Fp16Pe):
    """One product a cycle, aligned to the largest exponent so far."""

    model: RunningDot
    #: As many as the model's guard bits make if none.
    accumulator_bits: int | None = None

    def __post_init__(self) -> None:
        """Give the model as many guard bits as the accumulator has room for."""
        if self.accumulator_bits is not None:
            changed = self.model.with_accumulator(self.accumulator_bits, self.length)
            object.__setattr__(self, "model", changed)

    @property
    def weights(self) -> Format:
        """The format of the weights."""
        return self.model.weights

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats and guard bits."""
        model = self.model
        formats = f"{model.weights.name} weights and FP16 activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{model.guard_bits} guard bits, shifts truncate, groups of up to {self.length} values",
        )

    @property
    def result_meaning(self) -> str:
        """A mantissa and its exponent."""
        place = 25 + self.model.guard_bits
        return f"mantissa * 2^(exponent - {place}){in_units(self.model.weights.unit)}"

    def build(self) -> RunningCircuit:
        """Return a new component."""
        self.check_one_lane()
        return RunningCircuit(self.model, self.length)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return mantissas in the low bits, and exponents above them."""
        mantissas, exponents = self.model.groups(*self.rows(operands))
        return packed(mantissas, exponents, self.model.sum_bits(self.length))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product."""
        return (
            Obligation(
                what="shift and add equals *",
                circuit=lambda: SignificandProduct(self.model),
                reference=lambda: SignificandProductReference(self.model),
                input_bits=self.model.weights.bits + FP16.bits,
            ),
        )
