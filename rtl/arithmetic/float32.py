"""FP32 addition and conversion to FP32, without subnormal numbers, infinities and NaN.

A zero has the stored exponent 0 and either sign; a sum of zero is positive.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP32, FloatFormat
from rtl.arithmetic.shifts import leading_zeros, sticky_shift

#: Number of bits below a significand that rounding needs: guard, round and sticky.
EXTRA = 3


def float_layout(fmt: FloatFormat) -> data.StructLayout:
    """Return the fields of a floating-point code."""
    return data.StructLayout(
        {"mantissa": fmt.mantissa_bits, "exponent": fmt.exponent_bits, "sign": 1}
    )


class FloatAdder(wiring.Component):
    """Combinational: the sum of two normal numbers or zeros, rounded to nearest, ties to even.

    The sum must be zero or a normal number; underflow and overflow are not handled.
    """

    def __init__(self, fmt: FloatFormat = FP32) -> None:
        self.fmt = fmt
        layout = float_layout(fmt)
        super().__init__({"a": In(layout), "b": In(layout), "sum": Out(layout)})

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        is_swapped = self.b.as_value()[:-1] > self.a.as_value()[:-1]
        large, small = Signal.like(self.a), Signal.like(self.a)
        m.d.comb += large.eq(Mux(is_swapped, self.b.as_value(), self.a.as_value()))
        m.d.comb += small.eq(Mux(is_swapped, self.a.as_value(), self.b.as_value()))
        distance = Signal(self.fmt.exponent_bits)
        m.d.comb += distance.eq(large.exponent - small.exponent)
        aligned, lost = sticky_shift(m, _significand(m, small), distance)
        wide = Signal(len(aligned) + 1)
        added = Cat(lost | aligned[0], aligned[1:])
        is_difference = large.sign ^ small.sign
        first = _significand(m, large)
        m.d.comb += wide.eq(Mux(is_difference, first - added, first + added))
        m.d.comb += self.sum.eq(self._rounded(m, wide, large))
        return m

    def _rounded(self, m: Module, wide: Value, large: data.View) -> Value:
        """Return the FP32 code of a significand that has a carry bit above and extra bits below."""
        zeros = leading_zeros(m, wide)
        normal = Signal(len(wide))
        m.d.comb += normal.eq(wide << zeros)
        lowest = EXTRA + 1
        is_up = normal[lowest - 1] & (normal[: lowest - 1].any() | normal[lowest])
        exponent = Signal(self.fmt.exponent_bits)
        m.d.comb += exponent.eq(large.exponent + 1 - zeros)
        # A carry out of the mantissa increments the exponent.
        magnitude = Signal(self.fmt.bits - 1)
        m.d.comb += magnitude.eq(Cat(normal[lowest:-1], exponent) + is_up)
        return Mux(wide.any(), Cat(magnitude, large.sign), 0)


def _significand(m: Module, number: data.View) -> Value:
    """Return the significand of a number: hidden bit, mantissa, and extra bits of 0."""
    found = Signal(len(number.mantissa) + 1 + EXTRA)
    is_number = number.exponent.any()
    m.d.comb += found.eq(Cat(Const(0, EXTRA), Mux(is_number, number.mantissa, 0), is_number))
    return found


def to_fp32(m: Module, sign: Value, magnitude: Value, exponent: Value, unit: int) -> Value:
    """Return ``(-1)^sign * magnitude * 2^(exponent + unit)`` as FP32; magnitudes of up to 24 bits.

    The number must be in the range of normal FP32 numbers, or 0.
    """
    zeros = leading_zeros(m, magnitude)
    normal = Signal(FP32.mantissa_bits + 1)
    m.d.comb += normal.eq((magnitude << zeros) << (len(normal) - len(magnitude)))
    field = Signal(FP32.exponent_bits)
    m.d.comb += field.eq(exponent + (unit + len(magnitude) - 1 + FP32.bias) - zeros)
    return Mux(normal.any(), Cat(normal[:-1], field, sign), 0)
