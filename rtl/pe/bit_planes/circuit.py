"""Bit-serial dot products of nested codes: one bit plane per cycle, the highest first.

A bit of 1 adds its activation, a bit of 0 subtracts it; the beat's partial sum is doubled before
each further plane. Reading fewer planes takes fewer cycles on the same circuit.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.bit_planes import PARENT_BITS, largest_plane_sum
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum

ACTIVATION_BITS = 8
#: Bits of the field ``left_out``, the number of planes not read, 0 to 7.
LEFT_OUT_BITS = 3


def sum_bits(length: int) -> int:
    """Return the accumulator width in bits that is exact for ``length`` values.

    >>> sum_bits(128)
    23
    """
    largest = largest_plane_sum(PARENT_BITS, length, 1 << ACTIVATION_BITS - 1)
    return largest.bit_length() + 1


class SignedSum(wiring.Component):
    """Combinational: the sum of activations, added where their bit is 1, else subtracted."""

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
        """Return an adder tree: subtracted activations are inverted, and a carry added for each."""
        m = Module()
        inverted = [
            self.activations[i] ^ (~self.bits[i]).replicate(ACTIVATION_BITS).as_signed()
            for i in range(self._lanes)
        ]
        ones = add_all([~self.bits[i] for i in range(self._lanes)])
        m.d.comb += self.total.eq(add_all(inverted) + ones)
        return m


class SignedSumReference(SignedSum):
    """Reference of :class:`SignedSum`: a sum of activations and their negatives."""

    def elaborate(self, platform: object) -> Module:
        """Return the sum of activations and their negatives."""
        m = Module()
        terms = [
            Mux(self.bits[i], self.activations[i], -self.activations[i]) for i in range(self._lanes)
        ]
        m.d.comb += self.total.eq(sum(terms))
        return m


class BitPlanes(GroupSum):
    """Dot products of ``lanes`` weights per beat, one bit plane of all lanes per cycle.

    ``bits`` is the accumulator width. A beat has 8-bit ``codes``, ``activations``, and
    ``left_out``, the number of planes not read.
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
        """Return whether this is the last plane to read."""
        return step + self.operands.payload.left_out == PARENT_BITS - 1

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add a plane to twice the beat's sum; with the last plane, add that sum to the total."""
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
        """Return the sum of the group."""
        total: Value = after.total
        return total
