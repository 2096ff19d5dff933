"""The floating-point baseline: an FP16 multiplier followed by an FP32 adder."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP16, FP32
from rtl.arithmetic.float32 import FloatAdder, float_layout, to_fp32
from rtl.arithmetic.group_sum import GroupSum
from rtl.arithmetic.products import float_parts

#: Exponent of the unit of products; FP16 numbers are multiples of ``2^-24``.
UNIT = -48


class Fp16Product(wiring.Component):
    """Combinational: the exact product of two FP16 numbers, as FP32."""

    def __init__(self) -> None:
        super().__init__({"weight": In(16), "activation": In(16), "product": Out(32)})

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        sign_w, significand_w, shift_w = float_parts(m, FP16, self.weight)
        sign_a, significand_a, shift_a = float_parts(m, FP16, self.activation)
        significand, shift = Signal(22), Signal(6)
        m.d.comb += significand.eq(significand_w * significand_a)
        m.d.comb += shift.eq(shift_w + shift_a)
        m.d.comb += self.product.eq(to_fp32(m, sign_w ^ sign_a, significand, shift, UNIT))
        return m


class Fp16ProductReference(Fp16Product):
    """Reference of :class:`Fp16Product`: one case per exponent and place of the leading one."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        sign_w, significand_w, shift_w = float_parts(m, FP16, self.weight)
        sign_a, significand_a, shift_a = float_parts(m, FP16, self.activation)
        significand = Signal(22)
        m.d.comb += significand.eq(significand_w * significand_a)
        for top in range(22):
            with m.If(significand[top] & ~significand[top + 1 :].any()):
                mantissa = significand[:top] << (23 - top)
                field = shift_w + shift_a + (top + UNIT + FP32.bias)
                m.d.comb += self.product.eq((sign_w ^ sign_a) << 31 | field << 23 | mantissa)
        return m


class Fp16Mac(GroupSum):
    """Adds the product of one weight and one activation per cycle to an FP32 accumulator."""

    def __init__(self) -> None:
        fields = {"weights": data.ArrayLayout(16, 1), "activations": data.ArrayLayout(16, 1)}
        super().__init__(fields, state=float_layout(FP32), result=32)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Return the accumulator plus one product."""
        m.submodules.multiplier = multiplier = Fp16Product()
        m.submodules.adder = adder = FloatAdder()
        beat = self.operands.payload
        m.d.comb += [
            multiplier.weight.eq(beat.weights[0]),
            multiplier.activation.eq(beat.activations[0]),
            adder.a.eq(before),
            adder.b.eq(multiplier.product),
        ]
        return Value.cast(adder.sum)

    def finish(self, m: Module, after: Signal) -> Value:
        """Return the FP32 code of the sum."""
        return Value.cast(after)
