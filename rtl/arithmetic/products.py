"""Exact multipliers of one weight and one activation, by different circuits.

All have the same ports: the codes of a weight and of an activation in; their product out, in units
of the weight unit times the activation unit.
"""

from functools import cache

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FloatFormat, Format
from numerics.pe.exact_dot import integer_table, sum_bits
from rtl.arithmetic.decoder import LARGEST_TABLE_BITS, Decoder


class Product(wiring.Component):
    """Base of all multipliers: two codes in, one signed product out."""

    def __init__(self, weights: Format, activations: Format) -> None:
        self.weights, self.activations = weights, activations
        self.check()
        super().__init__(
            {
                "weight": In(weights.bits),
                "activation": In(activations.bits),
                "product": Out(signed_shape(sum_bits(weights, activations, 1))),
            }
        )

    def check(self) -> None:
        """Raise ValueError if the circuit cannot multiply the formats."""
        for fmt in (self.weights, self.activations):
            integer_table(fmt)

    def decoded(self, m: Module, fmt: Format, code: Value) -> Value:
        """Return the value of a code, from a new decoder."""
        decoder = Decoder(fmt)
        m.submodules += decoder
        m.d.comb += decoder.code.eq(code)
        return decoder.value


class Multiplier(Product):
    """Decode both codes and multiply their values."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        activation = self.decoded(m, self.activations, self.activation)
        m.d.comb += self.product.eq(weight * activation)
        return m


class ShiftAdd(Product):
    """Add the activation shifted for each one bit of the weight; MixPE, arXiv:2411.16158.

    The weight's sign bit subtracts, as in two's complement.
    """

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        activation = self.decoded(m, self.activations, self.activation)
        terms = [Mux(weight[i], activation << i, 0) for i in range(len(weight) - 1)]
        negative = Mux(weight[-1], activation << (len(weight) - 1), 0)
        total: Value = terms[0]
        for term in terms[1:]:
            total = total + term
        m.d.comb += self.product.eq(total - negative)
        return m


class BoothShiftAdd(Product):
    """Add one shifted multiple -2 .. 2 of the activation for each two bits of the weight.

    Radix-4 Booth recoding: a digit is ``b[2i - 1] + b[2i] - 2 b[2i + 1]``.
    """

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        activation = self.decoded(m, self.activations, self.activation)
        digits = (len(weight) + 1) // 2
        extended = Signal(signed_shape(2 * digits))
        m.d.comb += extended.eq(weight)
        total: Value | None = None
        for i in range(digits):
            below = extended[2 * i - 1] if i else Value.cast(0)
            one = extended[2 * i] ^ below
            is_two = (extended[2 * i + 1] ^ extended[2 * i]) & ~one
            size = Mux(is_two, activation << 1, Mux(one, activation, 0))
            term = Mux(extended[2 * i + 1], -size, size) << (2 * i)
            total = term if total is None else total + term
        m.d.comb += self.product.eq(total)
        return m


class AddSkip(Product):
    """Add, subtract or skip the activation: weights of -1, 0 and 1 only."""

    def check(self) -> None:
        """Raise ValueError for weights with other values."""
        others = [value for value in integer_table(self.weights) if abs(value) > 1]
        if others:
            raise ValueError(
                f"{self.weights.name} has the value {others[0]}; add-skip multiplies by -1, 0 and 1"
            )
        super().check()

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        activation = self.decoded(m, self.activations, self.activation)
        table = integer_table(self.weights)
        with m.Switch(self.weight):
            for code, value in enumerate(table):
                with m.Case(code):
                    m.d.comb += self.product.eq({0: 0, 1: activation, -1: -activation}[value])
        return m


class FloatProduct(Product):
    """Multiply significands and shift by the sum of the exponents, into a fixed-point number."""

    def check(self) -> None:
        """Raise ValueError for formats without an exponent."""
        for fmt in (self.weights, self.activations):
            if not isinstance(fmt, FloatFormat):
                raise ValueError(f"{fmt.name} is not a floating-point format; multiply its values")
        super().check()

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        sign_w, significand_w, shift_w = float_parts(m, self.weights, self.weight)
        sign_a, significand_a, shift_a = float_parts(m, self.activations, self.activation)
        magnitude = Signal(len(self.product) - 1)
        m.d.comb += magnitude.eq((significand_w * significand_a) << (shift_w + shift_a))
        m.d.comb += self.product.eq(Mux(sign_w ^ sign_a, -magnitude, magnitude))
        return m


class ShiftAddFloat(ShiftAdd):
    """Add the activation's significand for each one bit of the weight, then shift by its exponent.

    MixPE for floating-point activations, arXiv:2411.16158, without rounding: the fixed-point sum is
    wide enough for products of every exponent.
    """

    def check(self) -> None:
        """Raise ValueError for activations without an exponent."""
        if not isinstance(self.activations, FloatFormat):
            raise ValueError(
                f"{self.activations.name} is not a floating-point format; use shift-add"
            )
        super().check()

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        sign, significand, shift = float_parts(m, self.activations, self.activation)
        terms = [Mux(weight[i], significand << i, 0) for i in range(len(weight) - 1)]
        negative = Mux(weight[-1], significand << (len(weight) - 1), 0)
        total = Signal(signed_shape(len(weight) + len(significand)))
        m.d.comb += total.eq(sum(terms[1:], start=terms[0]) - negative)
        # The most negative weight times minus one needs one more bit.
        m.d.comb += self.product.eq(Mux(sign, -total, total) << shift)
        return m


def float_parts(m: Module, fmt: Format, code: Value) -> tuple[Value, Value, Value]:
    """Return sign, significand with hidden bit, and exponent minus that of subnormal numbers."""
    assert isinstance(fmt, FloatFormat)
    mantissa = code[: fmt.mantissa_bits]
    exponent = code[fmt.mantissa_bits : fmt.bits - 1]
    significand = Signal(fmt.mantissa_bits + 1)
    shift = Signal(len(exponent))
    is_normal = exponent.any()
    m.d.comb += significand[: fmt.mantissa_bits].eq(mantissa)
    m.d.comb += significand[-1].eq(is_normal)
    m.d.comb += shift.eq(Mux(is_normal, exponent - 1, 0))
    for is_special in _special_codes(fmt, code):
        with m.If(is_special):
            m.d.comb += significand.eq(0)
            m.d.comb += shift.eq(0)
    return code[-1], significand, shift


def _special_codes(fmt: FloatFormat, code: Value) -> list[Value]:
    """Return conditions that hold for the codes of NaN and infinities, whose value here is 0."""
    special = _codes_of_no_number(fmt)
    top = set(range(2 ** (fmt.bits - 1) - 2**fmt.mantissa_bits, 2 ** (fmt.bits - 1)))
    if top <= special:
        # IEEE: every code with the largest stored exponent is an infinity or NaN.
        return [code[fmt.mantissa_bits : fmt.bits - 1].all()]
    return [code == value for value in sorted(special)]


@cache
def _codes_of_no_number(fmt: Format) -> frozenset[int]:
    """Return the codes of NaN and infinities, whose value here is 0."""
    zeros = [code for code, value in enumerate(integer_table(fmt)) if value == 0]
    return frozenset(code for code in zeros if fmt.decode(code) != 0)


def reference_product(weights: Format, activations: Format) -> Product:
    """Return the reference of every multiplier: decoders and ``*``."""
    wide = activations.bits > LARGEST_TABLE_BITS
    return (_WideMultiplier if wide else Multiplier)(weights, activations)


class _WideMultiplier(Product):
    """Reference for floats too wide for a decoder: significands multiplied, then one shift."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        sign, significand, shift = float_parts(m, self.activations, self.activation)
        size = (weight * significand) << shift
        m.d.comb += self.product.eq(Mux(sign, -size, size))
        return m
