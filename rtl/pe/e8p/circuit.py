"""E8P, QuIP#'s codebook of eight weights in 16 bits: decoder and dot products.

The table of 256 words and the places of its fields are those of :mod:`numerics.codebooks.e8p`.
With ``h`` 1, 3 or 5, twice the magnitude of a half, a weight in quarters is ``2 * ±h ± 1``, so that

    sum(w * a) = 2 * sum(±h * a) ± sum(a):

the sum of eight activations takes the place of eight additions of a quarter.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.codebooks import e8p
from numerics.pe.codebook_dot import largest_e8p_sum
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum

ACTIVATION_BITS = 8
CODE_BITS = 16
MAGNITUDE_BITS = 3
#: An activation times five.
TERM_BITS = ACTIVATION_BITS + 3


class Decoder(wiring.Component):
    """Combinational: twice the magnitudes of a code's halves, their signs and the quarter's.

    Members
    -------
    code : in
        Row in the upper byte, signs in the lower.
    magnitudes : out
        1, 3 or 5, three bits each.
    signs, is_minus : out
        Whether each half is negative, and whether a quarter is taken off in place of added.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "code": In(CODE_BITS),
                "magnitudes": Out(MAGNITUDE_BITS * e8p.DIMENSION),
                "signs": Out(e8p.DIMENSION),
                "is_minus": Out(1),
            }
        )

    def magnitude(self, element: int) -> Value:
        """Return the bits of one magnitude."""
        return self.magnitudes.word_select(element, MAGNITUDE_BITS)

    def elaborate(self, platform: object) -> Module:
        """Return the table, and signs."""
        m = Module()
        word, signs = Signal(4 * e8p.DIMENSION), self.code[:8]
        with m.Switch(self.code[8:]):
            for row, packed in enumerate(e8p.packed_rows().tolist()):
                with m.Case(row):
                    m.d.comb += word.eq(packed)
        m.d.comb += self.is_minus.eq(signs.xor())
        for place, element in enumerate(e8p.PLACES):
            # A field is a number plus 8.
            half = (word[4 * place : 4 * place + 4] ^ 0b1000).as_signed()
            # The parity is added to the lowest sign.
            sign = signs[place] ^ self.is_minus if place == 0 else signs[place]
            m.d.comb += self.magnitude(element).eq(Mux(half[-1], -half, half))
            m.d.comb += self.signs[element].eq(half[-1] ^ sign)
        return m


class Term(wiring.Component):
    """Combinational: a half's doubled magnitude of 1, 3 or 5 times an activation, with its sign."""

    def __init__(self) -> None:
        super().__init__(
            {
                "magnitude": In(MAGNITUDE_BITS),
                "sign": In(1),
                "activation": In(signed_shape(ACTIVATION_BITS)),
                "term": Out(signed_shape(TERM_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the activation, and its double or its quadruple where a bit says so."""
        m = Module()
        a = self.activation
        size = a + Mux(self.magnitude[1], a << 1, 0) + Mux(self.magnitude[2], a << 2, 0)
        m.d.comb += self.term.eq(Mux(self.sign, -size, size))
        return m


class E8pDot(GroupSum):
    """Sums products of ``codes`` codes and eight times as many activations a beat, in quarters."""

    def __init__(self, *, codes: int, bits: int) -> None:
        self._codes = codes
        fields = {
            "codes": data.ArrayLayout(CODE_BITS, codes),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), e8p.DIMENSION * codes),
        }
        total = signed_shape(bits)
        super().__init__(fields, state=total, result=total)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add the blocks of all codes."""
        return before + add_all([self._block(m, block) for block in range(self._codes)])

    def _block(self, m: Module, block: int) -> Value:
        """Return a code's sum: twice that of the halves, and the activations' with one sign."""
        beat = self.operands.payload
        m.submodules[f"decoder_{block}"] = decoder = Decoder()
        m.d.comb += decoder.code.eq(beat.codes[block])
        terms, row = [], []
        for element in range(e8p.DIMENSION):
            term = Term()
            m.submodules[f"term_{block}_{element}"] = term
            activation = beat.activations[e8p.DIMENSION * block + element]
            m.d.comb += term.magnitude.eq(decoder.magnitude(element))
            m.d.comb += [term.sign.eq(decoder.signs[element]), term.activation.eq(activation)]
            terms.append(term.term)
            row.append(activation)
        quarters = add_all(row)
        return (add_all(terms) << 1) + Mux(decoder.is_minus, -quarters, quarters)


def e8p_sum_bits(length: int) -> int:
    """Return the bits of a two's complement number that holds every sum, in quarters.

    >>> e8p_sum_bits(128)
    18
    """
    return largest_e8p_sum(length, 1 << ACTIVATION_BITS - 1).bit_length() + 1
