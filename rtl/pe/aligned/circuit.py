"""BitMoD's PE as a circuit, made from its model: four lanes, one term of each weight per cycle.

BitMoD, arXiv:2411.11745, section IV-B; :mod:`numerics.pe.aligned` defines its results.
"""

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring

from numerics.formats import FP16
from numerics.pe.aligned import EXPONENT_BITS, MANTISSA_BITS, AlignedDot
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum
from rtl.arithmetic.normalizer import Normalizer, aligned_layout
from rtl.arithmetic.products import float_parts
from rtl.arithmetic.serial_terms import serial_term
from rtl.arithmetic.shifts import rounded_shift


class AlignedCircuit(GroupSum):
    """Adds terms times activations to an accumulator, aligned to the largest exponent so far."""

    def __init__(self, model: AlignedDot, fields: dict[str, ShapeLike] | None = None) -> None:
        self._model = model
        self.steps = model.generator.cycles
        fields = fields or {
            "weights": data.ArrayLayout(model.generator.weights.bits, model.lanes),
            "activations": data.ArrayLayout(FP16.bits, model.lanes),
        }
        layout = aligned_layout(model.accumulator_bits)
        super().__init__(fields, state=layout, result=layout)

    def add(self, m: Module, before: data.View, step: Value) -> Value:
        """Return the accumulator after a cycle."""
        added, top = self._beat(m, step)
        placed = Signal(signed_shape(len(added) + max(self._model.generator.significances)))
        with m.Switch(step):
            for number, significance in enumerate(self._model.generator.significances):
                with m.Case(number):
                    m.d.comb += placed.eq(added << significance)
        is_larger = top > before.exponent
        exponent, distance = Signal(EXPONENT_BITS), Signal(EXPONENT_BITS)
        m.d.comb += exponent.eq(Mux(is_larger, top, before.exponent))
        m.d.comb += distance.eq(Mux(is_larger, top - before.exponent, before.exponent - top))
        m.submodules.normalizer = normalizer = Normalizer(self._model)
        m.d.comb += normalizer.total.eq(
            self._shifted(m, before.mantissa, Mux(is_larger, distance, 0))
            + self._shifted(m, placed, Mux(is_larger, 0, distance))
        )
        m.d.comb += normalizer.exponent.eq(exponent)
        return Cat(normalizer.mantissa, normalizer.after)

    def _shifted(self, m: Module, value: Value, places: Value) -> Value:
        return rounded_shift(m, value, places, self._model.rounding)

    def term(self, m: Module) -> wiring.Component:
        """Return the term circuit of one lane."""
        return serial_term(self._model.generator)

    def _beat(self, m: Module, step: Value) -> tuple[Value, Value]:
        """Return the sum of one cycle's terms times activations, and their largest exponent."""
        beat, signs, widths, exponents = self.operands.payload, [], [], []
        for lane in range(self._model.lanes):
            term = self.term(m)
            m.submodules[f"term_{lane}"] = term
            m.d.comb += [term.code.eq(beat.weights[lane]), term.step.eq(step)]
            sign, significand, field = float_parts(m, FP16, beat.activations[lane])
            exponent = Signal(EXPONENT_BITS, name=f"exponent_{lane}")
            # The field of subnormal and of the smallest normal numbers is 0; their exponent is 1.
            m.d.comb += exponent.eq(field + term.exponent + 1)
            exponents.append(exponent)
            signs.append(sign ^ term.sign)
            widths.append(Mux(term.bit, significand, 0))
        top = _largest(m, exponents)
        sizes = [self._size(m, *pair, top) for pair in zip(widths, exponents, strict=True)]
        products = [Mux(sign, -size, size) for sign, size in zip(signs, sizes, strict=True)]
        added = Signal(signed_shape(len(sizes[0]) + 1 + (len(sizes) - 1).bit_length()))
        m.d.comb += added.eq(add_all(products))
        return added, top

    def _size(self, m: Module, significand: Value, exponent: Value, top: Value) -> Value:
        """Return a significand with guard bits, shifted right to the largest exponent."""
        guard = self._model.guard_bits
        wide, size = (Signal(MANTISSA_BITS + 1 + guard) for _ in range(2))
        distance = Signal(EXPONENT_BITS)
        m.d.comb += wide.eq(Cat(Const(0, guard), significand))
        m.d.comb += distance.eq(top - exponent)
        m.d.comb += size.eq(self._shifted(m, wide, distance))
        return size


def _largest(m: Module, numbers: list[Signal]) -> Signal:
    """Return the largest of some numbers, by a tree of comparators."""
    while len(numbers) > 1:
        larger = []
        for a, b in zip(numbers[0::2], numbers[1::2], strict=False):
            larger.append(Signal.like(a, name=f"larger_{len(numbers)}"))
            m.d.comb += larger[-1].eq(Mux(a > b, a, b))
        numbers = larger + numbers[len(numbers) & ~1 :]
    return numbers[0]
