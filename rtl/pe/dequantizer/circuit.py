"""BitMoD's dequantizer: a group sum times its scale, bit-serially, added to a channel in FP32.

BitMoD, arXiv:2411.11745, section IV-B; :mod:`numerics.pe.dequantizer` defines its results.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP32
from numerics.pe.aligned import EXPONENT_BITS, UNIT_EXPONENT, AlignedDot
from numerics.pe.dequantizer import SCALE_BITS
from rtl.arithmetic.float32 import FloatAdder, float_layout, to_fp32
from rtl.arithmetic.group_sum import GroupSum


class Fp32Group(wiring.Component):
    """Combinational: the product of a group sum and its scale as FP32, exactly."""

    def __init__(self, model: AlignedDot) -> None:
        self.unit = UNIT_EXPONENT - model.guard_bits
        super().__init__(
            {
                "product": In(signed_shape(model.accumulator_bits + SCALE_BITS)),
                "exponent": In(EXPONENT_BITS),
                "number": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        size = self._size(m)
        m.d.comb += self.number.eq(to_fp32(m, self.product[-1], size, self.exponent, self.unit))
        return m

    def _size(self, m: Module) -> Signal:
        """Return the magnitude of the product, which is never the most negative number."""
        size = Signal(len(self.product) - 1)
        m.d.comb += size.eq(Mux(self.product[-1], -self.product, self.product))
        return size


class Fp32GroupReference(Fp32Group):
    """Reference of :class:`Fp32Group`: one case per position of the leading one."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        size = self._size(m)
        for top in range(len(size)):
            with m.If(size[top] & ~size[top + 1 :].any()):
                mantissa = size[:top] << (FP32.mantissa_bits - top)
                field = self.exponent + (top + self.unit + FP32.bias)
                sign = self.product[-1] << (FP32.bits - 1)
                m.d.comb += self.number.eq(sign | field << FP32.mantissa_bits | mantissa)
        return m


class Dequantizer(GroupSum):
    """Multiplies a group sum by its scale in eight cycles, and adds to the channel in the last.

    A beat is a group sum with its scale; ``last`` marks the last group of a channel.
    """

    steps = SCALE_BITS

    def __init__(self, model: AlignedDot) -> None:
        self._model = model
        self._width = model.accumulator_bits + SCALE_BITS
        fields = {
            "mantissa": signed_shape(model.accumulator_bits),
            "exponent": EXPONENT_BITS,
            "scale": SCALE_BITS,
        }
        total = float_layout(FP32)
        state = data.StructLayout({"product": signed_shape(self._width), "total": total})
        super().__init__(fields, state=state, result=FP32.bits)

    def add(self, m: Module, before: data.View, step: Value) -> Value:
        """Return the partial product and the channel's sum after a cycle."""
        beat = self.operands.payload
        bit = Array(reversed(beat.scale))[step]
        product = Signal(signed_shape(self._width))
        m.d.comb += product.eq((before.product << 1) + Mux(bit, beat.mantissa, 0))
        m.submodules.group = group = Fp32Group(self._model)
        m.submodules.adder = adder = FloatAdder()
        m.d.comb += [
            group.product.eq(product),
            group.exponent.eq(beat.exponent),
            adder.a.eq(before.total),
            adder.b.eq(group.number),
        ]
        # The product is complete in the last cycle only.
        is_last = self.is_last_step(step)
        total = Mux(is_last, adder.sum.as_value(), before.total.as_value())
        return Cat(Mux(is_last, 0, product), total)

    def finish(self, m: Module, after: data.View) -> Value:
        """Return the FP32 code of the sum."""
        return Value.cast(after.total)
