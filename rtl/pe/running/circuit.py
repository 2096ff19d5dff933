"""MixPE's W4A16 with a short accumulator, aligned with each product to the larger exponent.

MixPE, arXiv:2411.16158; :mod:`numerics.pe.running` defines its results.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP16
from numerics.pe.aligned import MANTISSA_BITS
from numerics.pe.running import RunningDot
from rtl.arithmetic.decoder import Decoder, value_bits
from rtl.arithmetic.group_sum import GroupSum
from rtl.arithmetic.products import float_parts


class SignificandProduct(wiring.Component):
    """Combinational: a weight times an FP16 significand with its sign, by shift and add.

    Members
    -------
    field
        The activation's exponent minus that of subnormal numbers.
    """

    def __init__(self, model: RunningDot) -> None:
        self._model = model
        # The most negative weight times a negative significand needs one more bit.
        width = value_bits(model.weights) + MANTISSA_BITS + 2
        super().__init__(
            {
                "weight": In(model.weights.bits),
                "activation": In(FP16.bits),
                "product": Out(signed_shape(width)),
                "field": Out(FP16.exponent_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self._weight(m)
        sign, significand, field = float_parts(m, FP16, self.activation)
        total: Value = Const(0)
        for place in range(len(weight) - 1):
            total = total + Mux(weight[place], significand << place, 0)
        total = total - Mux(weight[-1], significand << (len(weight) - 1), 0)
        m.d.comb += self.product.eq(Mux(sign, -total, total))
        m.d.comb += self.field.eq(field)
        return m

    def _weight(self, m: Module) -> Value:
        m.submodules.decoder = decoder = Decoder(self._model.weights)
        m.d.comb += decoder.code.eq(self.weight)
        return decoder.value


class SignificandProductReference(SignificandProduct):
    """Reference of :class:`SignificandProduct`, with ``*``."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self._weight(m)
        sign, significand, field = float_parts(m, FP16, self.activation)
        m.d.comb += self.product.eq(weight * Mux(sign, -significand, significand))
        m.d.comb += self.field.eq(field)
        return m


class RunningCircuit(GroupSum):
    """Adds one product per cycle to an accumulator with the largest exponent so far."""

    def __init__(self, model: RunningDot, length: int) -> None:
        self._model = model
        fields = {
            "weights": data.ArrayLayout(model.weights.bits, 1),
            "activations": data.ArrayLayout(FP16.bits, 1),
        }
        state = data.StructLayout(
            {"mantissa": signed_shape(model.sum_bits(length)), "exponent": FP16.exponent_bits}
        )
        super().__init__(fields, state=state, result=state)

    def add(self, m: Module, before: data.View, step: Value) -> Value:
        """Return the accumulator plus one product."""
        m.submodules.multiplier = multiplier = SignificandProduct(self._model)
        m.d.comb += multiplier.weight.eq(self.operands.payload.weights[0])
        m.d.comb += multiplier.activation.eq(self.operands.payload.activations[0])
        exponent, distance = Signal(FP16.exponent_bits), Signal(FP16.exponent_bits)
        m.d.comb += exponent.eq(multiplier.field + 1)
        is_larger = exponent > before.exponent
        largest = Mux(is_larger, exponent, before.exponent)
        m.d.comb += distance.eq(largest - Mux(is_larger, before.exponent, exponent))
        product = Cat(Const(0, self._model.guard_bits), multiplier.product).as_signed()
        total = Signal.like(before.mantissa)
        m.d.comb += total.eq(
            (before.mantissa >> Mux(is_larger, distance, 0))
            + (product >> Mux(is_larger, 0, distance))
        )
        return Cat(total, largest)
