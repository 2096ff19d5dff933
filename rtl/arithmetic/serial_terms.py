"""Term circuits: a weight as signed powers of two, one per cycle, made from a term generator."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.terms import WINDOW_BITS, BoothTerms, TermGenerator
from rtl.arithmetic.decoder import Decoder


class SerialTerm(wiring.Component):
    """Base of all term circuits: a weight code and a step in, the step's term out.

    Members
    -------
    sign, exponent, bit
        The term is ``(-1)^sign * bit * 2^exponent * 2^s``, with ``s`` the step's significance.
    """

    def __init__(self, generator: TermGenerator) -> None:
        self.generator = generator
        super().__init__(
            {
                "code": In(generator.weights.bits),
                "step": In(range(generator.cycles)),
                "sign": Out(1),
                "exponent": Out(range(generator.most_exponent + 1)),
                "bit": Out(1),
            }
        )


class BoothTerm(SerialTerm):
    """Radix-4 Booth terms: three neighbouring bits of a weight make a digit."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        # Booth digits need a zero below the lowest bit, and an even number of bits.
        padded = Cat(Const(0, 1), self.code, self.code[-1])
        bits = Signal(3)
        with m.Switch(self.step):
            for step, place in enumerate(self.generator.significances):
                with m.Case(step):
                    m.d.comb += bits.eq(padded[place : place + 3])
        m.d.comb += [
            self.bit.eq(bits.any() & ~bits.all()),
            self.sign.eq(bits[2] & ~bits.all()),
            self.exponent.eq(self.bit & ~(bits[0] ^ bits[1])),
        ]
        return m


class WindowTerm(SerialTerm):
    """Leading ones of a value's two windows; the low window excludes the bit found in the high."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.decoder = decoder = Decoder(self.generator.weights)
        m.d.comb += decoder.code.eq(self.code)
        sign = decoder.value[-1]
        size = Signal(WINDOW_BITS)
        unit = self.generator.weights.unit
        assert unit is not None
        places = int(unit / self.generator.unit).bit_length() - 1
        m.d.comb += size.eq(Mux(sign, -decoder.value, decoder.value) << places)
        window_terms(m, self, size)
        m.d.comb += self.sign.eq(sign)
        return m


def window_terms(m: Module, term: wiring.Component, size: Value) -> None:
    """Drive a term's exponent and bit from the leading one of its step's window."""
    found, high = leading_one(m, size[1:])
    low_found, low = leading_one(m, (size & ~(found << 1))[:-1])
    is_high = term.step
    m.d.comb += [
        term.exponent.eq(Mux(is_high, high, low)),
        term.bit.eq(Mux(is_high, found.any(), low_found.any())),
    ]


def leading_one(m: Module, window: Value) -> tuple[Value, Value]:
    """Return the highest one bit of a window, other bits cleared, and its index."""
    alone, place = Signal(len(window)), Signal(range(len(window)))
    for bit in range(len(window)):
        with m.If(window[bit]):
            m.d.comb += alone.eq(1 << bit)
            m.d.comb += place.eq(bit)
    return alone, place


class TermTable(SerialTerm):
    """Reference of the term circuits: a table of the generator's terms, one case per code."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        with m.Switch(Cat(self.code, self.step)):
            for step in range(self.generator.cycles):
                for code in range(1 << len(self.code)):
                    term = self.generator.terms(code)[step]
                    with m.Case(step << len(self.code) | code):
                        m.d.comb += [
                            self.sign.eq(term.sign),
                            self.exponent.eq(term.exponent),
                            self.bit.eq(term.bit),
                        ]
        return m


def serial_term(generator: TermGenerator) -> SerialTerm:
    """Return the term circuit of a generator."""
    return BoothTerm(generator) if isinstance(generator, BoothTerms) else WindowTerm(generator)
