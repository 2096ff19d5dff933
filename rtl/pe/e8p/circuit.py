"""E8P, QuIP#'s codebook of eight weights in 16 bits: decoder and dot products.

The table of 256 words and the layout of its fields are those of :mod:`numerics.codebooks.e8p`. An
element of a lattice point is ``±h / 2`` with ``h`` 1, 3 or 5, and a weight is the element plus or
minus 1/4. In units of 1/4 a weight is ``2 * ±h ± 1``, so that

    sum(w * a) = 2 * sum(±h * a) ± sum(a):

one sum of eight activations replaces eight additions of 1/4.
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
#: Bits of an activation times 5.
TERM_BITS = ACTIVATION_BITS + 3


class Decoder(wiring.Component):
    """Combinational: a code's eight elements, as doubled magnitudes and signs; sign of the 1/4.

    Members
    -------
    code : in
        Row of the table in the upper byte, signs in the lower.
    magnitudes : out
        Twice the elements' magnitudes: 1, 3 or 5, three bits each.
    signs, is_minus : out
        Whether each element is negative, and whether 1/4 is subtracted instead of added.
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
        """Return the bits of one element's magnitude."""
        return self.magnitudes.word_select(element, MAGNITUDE_BITS)

    def elaborate(self, platform: object) -> Module:
        """Return the circuit: the table of magnitudes, and the signs."""
        m = Module()
        word, signs = Signal(4 * e8p.DIMENSION), self.code[:8]
        with m.Switch(self.code[8:]):
            for row, packed in enumerate(e8p.packed_rows().tolist()):
                with m.Case(row):
                    m.d.comb += word.eq(packed)
        m.d.comb += self.is_minus.eq(signs.xor())
        for place, element in enumerate(e8p.PLACES):
            # A field of the table stores a number plus 8.
            half = (word[4 * place : 4 * place + 4] ^ 0b1000).as_signed()
            # The parity is added to the lowest sign.
            sign = signs[place] ^ self.is_minus if place == 0 else signs[place]
            m.d.comb += self.magnitude(element).eq(Mux(half[-1], -half, half))
            m.d.comb += self.signs[element].eq(half[-1] ^ sign)
        return m


class Term(wiring.Component):
    """Combinational: an activation times an element, given as doubled magnitude and sign."""

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
        """Return the circuit: the activation, plus 2 or 4 times it by the upper magnitude bits."""
        m = Module()
        a = self.activation
        size = a + Mux(self.magnitude[1], a << 1, 0) + Mux(self.magnitude[2], a << 2, 0)
        m.d.comb += self.term.eq(Mux(self.sign, -size, size))
        return m


class E8pDot(GroupSum):
    """Dot products in units of 1/4, with ``codes`` codes and 8 * ``codes`` activations per beat."""

    def __init__(self, *, codes: int, bits: int) -> None:
        self._codes = codes
        fields = {
            "codes": data.ArrayLayout(CODE_BITS, codes),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), e8p.DIMENSION * codes),
        }
        total = signed_shape(bits)
        super().__init__(fields, state=total, result=total)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add the dot products of all codes."""
        return before + add_all([self._block(m, block) for block in range(self._codes)])

    def _block(self, m: Module, block: int) -> Value:
        """Return a code's dot product: twice its elements', plus or minus all activations."""
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
    """Return the accumulator width in bits that is exact for ``length`` values.

    >>> e8p_sum_bits(128)
    18
    """
    return largest_e8p_sum(length, 1 << ACTIVATION_BITS - 1).bit_length() + 1
