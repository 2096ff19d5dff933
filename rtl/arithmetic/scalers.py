"""Scaling of a block's dot product: a multiplication, or a shift into a window."""

from math import isfinite

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import E8M0, FloatFormat, Format
from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import NAN_CODE, BlockShifted
from numerics.pe.exact_dot import integer_value, sum_bits
from rtl.arithmetic.decoder import Decoder
from rtl.arithmetic.products import float_parts


class Scaler(wiring.Component):
    """Combinational: ``scaled`` is a block's ``total`` times its scales, in units of the result.

    Members
    -------
    total : in
        Sum of a block.
    scales : in
        Codes of the block's scales, the first in the lowest bits.
    lowest : in
        Sum of scale codes whose scale is one unit; only with scales that are powers of two.
    """

    def __init__(self, model: BlockScaled | BlockShifted) -> None:
        self.model = model
        ports = {
            "total": In(signed_shape(sum_bits(model.weights, model.activations, model.block))),
            "scales": In(len(scale_formats(model)) * scale_formats(model)[0].bits),
            "scaled": Out(signed_shape(model.sum_bits(model.block))),
        }
        if isinstance(model, BlockShifted):
            ports["lowest"] = In(model.lowest_bits)
        super().__init__(ports)

    def codes(self) -> list[tuple[Format, Value]]:
        """Return format and code of every scale."""
        formats = scale_formats(self.model)
        return [(fmt, self.scales.word_select(i, fmt.bits)) for i, fmt in enumerate(formats)]


def scale_formats(model: BlockScaled | BlockShifted) -> tuple[Format, ...]:
    """Return the formats of a block's scales; raise ValueError if their widths differ."""
    formats = (E8M0,) * model.scales if isinstance(model, BlockShifted) else model.scales
    if len({fmt.bits for fmt in formats}) != 1:
        raise ValueError("a block has one scale, or several of the same width")
    return formats


class Multiplied(Scaler):
    """Multiply by the scales' significands, then shift by the sum of their exponents."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        found, shifts = self.total, Value.cast(0)
        for fmt, code in self.codes():
            if isinstance(fmt, FloatFormat):
                sign, significand, shift = float_parts(m, fmt, code)
                found, shifts = found * Mux(sign, -significand, significand), shifts + shift
            else:
                found = found * decoded(m, fmt, code)
        m.d.comb += self.scaled.eq(found << shifts)
        return m


class ScaleValue(wiring.Component):
    """Combinational: the value of a scale from :func:`float_parts`, to prove the parts correct."""

    def __init__(self, fmt: FloatFormat) -> None:
        self._format = fmt
        super().__init__({"code": In(fmt.bits), "value": Out(signed_shape(value_bits(fmt)))})

    def elaborate(self, platform: object) -> Module:
        """Return the circuit: the significand, shifted and signed."""
        m = Module()
        sign, significand, shift = float_parts(m, self._format, self.code)
        m.d.comb += self.value.eq(Mux(sign, -significand, significand) << shift)
        return m


class ScaleValueReference(ScaleValue):
    """Reference of :class:`ScaleValue`: a case for every exponent; NaN and infinities are 0."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit: for each exponent, the significand shifted by a constant."""
        m = Module()
        fmt = self._format
        mantissa, size = self.code[: fmt.mantissa_bits], Signal(len(self.value) - 1)
        with m.Switch(self.code[fmt.mantissa_bits : -1]):
            for exponent in range(1 << fmt.exponent_bits):
                with m.Case(exponent):
                    hidden = (exponent > 0) << fmt.mantissa_bits
                    m.d.comb += size.eq((mantissa | hidden) << max(exponent - 1, 0))
        m.d.comb += self.value.eq(Mux(self.code[-1], -size, size))
        top = (1 << fmt.exponent_bits) - 1 << fmt.mantissa_bits
        for code in range(top, top + (1 << fmt.mantissa_bits)):
            if not isfinite(fmt.decode(code)):
                with m.If(self.code[:-1] == code):
                    m.d.comb += self.value.eq(0)
        return m


def value_bits(fmt: FloatFormat) -> int:
    """Return the bits of a two's complement number that holds every value in the format's units.

    >>> from numerics.formats import E4M3, FP16
    >>> value_bits(E4M3), value_bits(FP16)
    (19, 41)
    """
    return integer_value(fmt, fmt.encode(fmt.max)).bit_length() + 1


class Shifted(Scaler):
    """Shift left by the sum of scale codes less ``lowest``; right, rounding down, if negative."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        assert isinstance(self.model, BlockShifted)
        codes = [code for _, code in self.codes()]
        shift = Signal(signed_shape(len(self.lowest) + 1))
        m.d.comb += shift.eq(sum(codes[1:], start=codes[0]) - self.lowest)
        highest, width = self.model.shifts - 1, len(self.total)
        left, right = Signal(range(highest + 1)), Signal(range(width + 1))
        m.d.comb += left.eq(Mux(shift > highest, highest, shift))
        m.d.comb += right.eq(Mux(-shift > width, width, -shift))
        is_number = Value.cast(1)
        for code in codes:
            is_number = is_number & (code != NAN_CODE)
        with m.If(is_number):
            m.d.comb += self.scaled.eq(Mux(shift < 0, self.total >> right, self.total << left))
        return m


class ShiftedReference(Scaler):
    """Reference of :class:`Shifted`: one case per shift."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        assert isinstance(self.model, BlockShifted)
        codes = [code for _, code in self.codes()]
        total, width, shifts = self.total, len(self.total), self.model.shifts
        shift = Signal(signed_shape(len(self.lowest) + 1))
        m.d.comb += shift.eq(sum(codes) - self.lowest)
        m.d.comb += self.scaled.eq(Mux(shift < 0, Mux(total < 0, -1, 0), total << (shifts - 1)))
        with m.Switch(shift):
            for amount in range(-width, shifts):
                with m.Case(amount):
                    m.d.comb += self.scaled.eq(total << amount if amount >= 0 else total >> -amount)
        for code in codes:
            with m.If(code == NAN_CODE):
                m.d.comb += self.scaled.eq(0)
        return m


def decoded(m: Module, fmt: Format, code: Value) -> Value:
    """Return the value of a code, from a new decoder."""
    decoder = Decoder(fmt)
    m.submodules += decoder
    m.d.comb += decoder.code.eq(code)
    return decoder.value
