"""Normalization: a right shift with rounding that makes a sum fit the accumulator's mantissa."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.aligned import EXPONENT_BITS, MANTISSA_BITS, AlignedDot
from rtl.arithmetic.shifts import leading_zeros, rounded_shift


def aligned_layout(mantissa_bits: int) -> data.StructLayout:
    """Return the fields of an accumulator: two's complement mantissa and unsigned exponent."""
    return data.StructLayout({"mantissa": signed_shape(mantissa_bits), "exponent": EXPONENT_BITS})


def total_bits(model: AlignedDot) -> int:
    """Return the bits of an accumulator plus the sum of one cycle's terms.

    >>> from numerics.formats import E2M1
    >>> from numerics.pe.terms import WindowTerms
    >>> total_bits(AlignedDot(generator=WindowTerms(E2M1)))  # 14 bits, 4 of them, a place, signs
    19
    """
    lanes = (model.lanes - 1).bit_length()
    added = MANTISSA_BITS + 1 + model.guard_bits + lanes + max(model.generator.significances) + 1
    return max(added, model.accumulator_bits) + 1


def normalizer_bits(model: AlignedDot) -> int:
    """Return the bits of a normalizer's inputs in all."""
    return total_bits(model) + EXPONENT_BITS


class Normalizer(wiring.Component):
    """Combinational :meth:`numerics.pe.aligned.AlignedDot.normalized`.

    ``mantissa`` fits its width; ``after`` is its exponent.
    """

    def __init__(self, model: AlignedDot) -> None:
        self._model = model
        super().__init__(
            {
                "total": In(signed_shape(total_bits(model))),
                "exponent": In(EXPONENT_BITS),
                "mantissa": Out(signed_shape(model.accumulator_bits)),
                "after": Out(EXPONENT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        kept = self._model.accumulator_bits - 1
        magnitude = Signal(len(self.total) - 1)
        m.d.comb += magnitude.eq(Mux(self.total[-1], ~self.total, self.total))
        beyond = magnitude[kept:]
        places = Signal(range(len(beyond) + 1))
        m.d.comb += places.eq(Mux(beyond.any(), len(beyond) - leading_zeros(m, beyond), 0))
        found = Signal(signed_shape(kept + 2))
        m.d.comb += found.eq(rounded_shift(m, self.total, places, self._model.rounding))
        self._give(m, found, places)
        return m

    def _give(self, m: Module, found: Signal, places: Value) -> None:
        """Drive the outputs; a mantissa rounded up to a power of two shifts one place more."""
        kept = self._model.accumulator_bits - 1
        m.d.comb += self.mantissa.eq(found)
        m.d.comb += self.after.eq(self.exponent + places)
        if self._model.rounding == "nearest":
            with m.If(~found[-1] & found[-2]):
                m.d.comb += self.mantissa.eq(1 << (kept - 1))
                m.d.comb += self.after.eq(self.exponent + places + 1)


class NormalizerReference(Normalizer):
    """Reference of :class:`Normalizer`: tries every shift, and takes the smallest that fits."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        largest = 1 << (self._model.accumulator_bits - 1)
        is_taken: Value = Const(0)
        for places in range(len(self.total) - self._model.accumulator_bits + 1):
            floor = self.total >> places
            is_fit = (floor >= -largest) & (floor < largest) & ~is_taken
            is_taken = is_taken | is_fit
            with m.If(is_fit):
                self._give_case(m, places, largest)
        return m

    def _give_case(self, m: Module, places: int, largest: int) -> None:
        rounded = self.total
        if self._model.rounding == "nearest" and places:
            # Round to nearest, ties to even: add half a unit less one, and one if the floor is odd.
            rounded = self.total + (1 << (places - 1)) - 1 + self.total[places]
        found = rounded >> places
        is_beyond = found == largest
        m.d.comb += self.mantissa.eq(Mux(is_beyond, found >> 1, found))
        m.d.comb += self.after.eq(self.exponent + places + is_beyond)
