"""Decoders from codes to values, each a look-up table made from the values of its format."""

from fractions import Fraction
from math import isfinite

from amaranth.hdl import Module
from amaranth.hdl import signed as signed_shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import Format, IntFormat
from numerics.pe.exact_dot import integer_table
from rtl.element import Obligation

#: Largest code width in bits that has a table of values; a solver cannot prove larger tables.
LARGEST_TABLE_BITS = 8


def value_bits(fmt: Format) -> int:
    """Return the bits of a two's complement number that holds every value in units of a format.

    >>> from numerics import FORMATS
    >>> value_bits(FORMATS["fp4_e2m1"]), value_bits(FORMATS["int8"])
    (5, 8)
    """
    table = integer_table(fmt)
    return max(max(table).bit_length(), (-min(table) - 1).bit_length()) + 1


class Decoder(wiring.Component):
    """Combinational: ``value`` is the value of ``code`` in units of the format.

    Two's complement codes pass as they are; every other format is a table of its values, which are
    computed here from the format and never written down again.

    Raises
    ------
    ValueError
        The codes are too wide for a table.
    """

    def __init__(self, fmt: Format) -> None:
        if fmt.bits > LARGEST_TABLE_BITS and not is_twos_complement(fmt):
            raise ValueError(
                f"{fmt.name} has codes of {fmt.bits} bits; a table of values takes codes of 1 to"
                f" {LARGEST_TABLE_BITS}, and products of floating-point numbers take wider ones"
            )
        self._format = fmt
        super().__init__({"code": In(fmt.bits), "value": Out(signed_shape(value_bits(fmt)))})

    def elaborate(self, platform: object) -> Module:
        """Return the table."""
        m = Module()
        if is_twos_complement(self._format):
            m.d.comb += self.value.eq(self.code.as_signed())
            return m
        with m.Switch(self.code):
            for code, value in enumerate(integer_table(self._format)):
                with m.Case(code):
                    m.d.comb += self.value.eq(value)
        return m


class DecoderReference(Decoder):
    """Reference of :class:`Decoder`: the format's definition, one case per code."""

    def elaborate(self, platform: object) -> Module:
        """Return the table."""
        m = Module()
        unit = Fraction(self._format.unit or 1)
        with m.Switch(self.code):
            for code in range(1 << len(self.code)):
                number = self._format.decode(code)
                with m.Case(code):
                    m.d.comb += self.value.eq(
                        int(Fraction(number) / unit) if isfinite(number) else 0
                    )
        return m


def decoder_obligations(*formats: Format) -> tuple[Obligation, ...]:
    """Return the obligations that decoders with tables equal the values of their formats."""
    tables = [
        fmt for fmt in formats if fmt.bits <= LARGEST_TABLE_BITS and not is_twos_complement(fmt)
    ]
    return tuple(_decoder_obligation(fmt) for fmt in dict.fromkeys(tables))


def _decoder_obligation(fmt: Format) -> Obligation:
    return Obligation(
        what=f"decoder of {fmt.name} equals its values",
        circuit=lambda: Decoder(fmt),
        reference=lambda: DecoderReference(fmt),
        input_bits=fmt.bits,
    )


def is_twos_complement(fmt: Format) -> bool:
    """Whether a code is its value as a two's complement number.

    >>> from numerics import FORMATS
    >>> is_twos_complement(FORMATS["int4"]), is_twos_complement(FORMATS["fp4_e2m1"])
    (True, False)
    """
    half = 2 ** (fmt.bits - 1)
    wrapped = (code - 2 * half if code >= half else code for code in range(2 * half))
    return isinstance(fmt, IntFormat) and integer_table(fmt) == tuple(wrapped)
