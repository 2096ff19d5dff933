"""Nested codes read plane by plane, the upper bits first: a cycle for each plane of a beat.

A bit of 1 adds its activation and one of 0 subtracts it; before each further plane of a beat, what
the beat has come to is doubled. Fewer planes take fewer cycles and the same circuit.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.bit_planes import PARENT_BITS, largest_plane_sum
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum

ACTIVATION_BITS = 8
#: Bits of the number of planes that are left out, 0 to 7.
LEFT_OUT_BITS = 3


def sum_bits(length: int) -> int:
    """Return the bits of a two's complement number that holds every sum of ``length`` products.

    >>> sum_bits(128)
    23
    """
    largest = largest_plane_sum(PARENT_BITS, length, 1 << ACTIVATION_BITS - 1)
    return largest.bit_length() + 1


class SignedSum(wiring.Component):
    """Combinational: the sum of activations, each with the sign of its bit; 1 adds."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        largest = lanes << ACTIVATION_BITS - 1
        super().__init__(
            {
                "bits": In(lanes),
                "activations": In(data.ArrayLayout(signed_shape(ACTIVATION_BITS), lanes)),
                "total": Out(signed_shape(largest.bit_length() + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return an adder tree of inverted activations, and the ones that their negatives lack."""
        m = Module()
        inverted = [
            self.activations[i] ^ (~self.bits[i]).replicate(ACTIVATION_BITS).as_signed()
            for i in range(self._lanes)
        ]
        ones = add_all([~self.bits[i] for i in range(self._lanes)])
        m.d.comb += self.total.eq(add_all(inverted) + ones)
        return m


class SignedSumReference(SignedSum):
    """The same by definition."""

    def elaborate(self, platform: object) -> Module:
        """Return the sum of activations and negated ones."""
        m = Module()
        terms = [
            Mux(self.bits[i], self.activations[i], -self.activations[i]) for i in range(self._lanes)
        ]
        m.d.comb += self.total.eq(sum(terms))
        return m


class BitPlanes(GroupSum):
    """Sums products of ``lanes`` weights a beat, a plane of all of them a cycle.

    ``bits`` are those of a sum. A beat has 8-bit ``codes``, ``activations``, and how many planes of
    it are ``left_out``.
    """

    steps = PARENT_BITS

    def __init__(self, *, lanes: int, bits: int) -> None:
        self._lanes = lanes
        beat = lanes * ((1 << PARENT_BITS) - 1) << ACTIVATION_BITS - 1
        state = data.StructLayout(
            {
                "total": signed_shape(bits),
                "of_beat": signed_shape(beat.bit_length() + 1),
            }
        )
        fields = {
            "codes": data.ArrayLayout(PARENT_BITS, lanes),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), lanes),
            "left_out": LEFT_OUT_BITS,
        }
        super().__init__(fields, state=state, result=signed_shape(bits))

    def is_last_step(self, step: Value) -> Value:
        """Whether this is the last plane that counts."""
        return step + self.operands.payload.left_out == PARENT_BITS - 1

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add a plane to twice the beat; at its last plane, the beat to the total."""
        beat, after = self.operands.payload, Signal.like(before)
        m.submodules.plane = plane = SignedSum(self._lanes)
        m.d.comb += plane.activations.eq(beat.activations)
        codes = [beat.codes[lane] for lane in range(self._lanes)]
        with m.Switch(step):
            for cycle in range(PARENT_BITS):
                with m.Case(cycle):
                    m.d.comb += plane.bits.eq(Cat(code[PARENT_BITS - 1 - cycle] for code in codes))
        of_beat = Signal.like(before.of_beat)
        m.d.comb += of_beat.eq((before.of_beat << 1) + plane.total)
        is_last = self.is_last_step(step)
        m.d.comb += after.of_beat.eq(Mux(is_last, 0, of_beat))
        m.d.comb += after.total.eq(Mux(is_last, before.total + of_beat, before.total))
        return after.as_value()

    def finish(self, m: Module, after: Signal) -> Value:
        """Return the total."""
        total: Value = after.total
        return total
