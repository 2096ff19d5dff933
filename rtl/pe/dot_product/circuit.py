"""A processing element: dot products of groups, one beat of lanes at a time, behind streams.

``operands`` takes a beat whenever ``valid`` and ``ready`` are high; its ``last`` ends a group.
``result`` gives the sum of the group in the cycle after, and holds it until it is taken; meanwhile
the next group goes on, and only its end waits.
"""

from collections.abc import Callable

from amaranth.hdl import Module, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import Format
from numerics.pe.exact_dot import sum_bits
from rtl.arithmetic.group_sum import accumulator_width
from rtl.arithmetic.products import Product
from rtl.arithmetic.terms import Serial

#: Makes one lane's product of the formats of weights and activations.
ProductFactory = Callable[[Format, Format], Product]


class DotProduct(wiring.Component):
    """Sums products of ``lanes`` weights and activations a beat over groups of ``length``.

    Parameters
    ----------
    length
        The most values of a group; it decides the width of an exact accumulator.
    accumulator_bits
        Width of the sum; that of every exact sum if none.
    serial
        Adds one term of each product a cycle, so that a beat is taken in the last of its cycles.

    Raises
    ------
    ValueError
        The accumulator is too narrow for the length; the message says the width it needs.
    """

    def __init__(
        self,
        weights: Format,
        activations: Format,
        product: ProductFactory,
        *,
        lanes: int = 1,
        length: int = 128,
        accumulator_bits: int | None = None,
        serial: Serial | None = None,
    ) -> None:
        if lanes < 1 or length < lanes:
            raise ValueError(f"{lanes} lanes for groups of {length}; at least 1, and no more")
        bits = accumulator_width(
            sum_bits(weights, activations, length),
            accumulator_bits,
            f"{length} products of {weights.name} and {activations.name}",
        )
        self.weights, self.activations = weights, activations
        self.lanes, self.length = lanes, length
        self._product, self._serial = product, serial
        beat = data.StructLayout(
            {
                "weights": data.ArrayLayout(weights.bits, lanes),
                "activations": data.ArrayLayout(activations.bits, lanes),
                "last": 1,
            }
        )
        total = signed_shape(bits)
        super().__init__(
            {"operands": In(stream.Signature(beat)), "result": Out(stream.Signature(total))}
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        beat, result = self.operands.payload, self.result
        total = Signal.like(result.payload)
        step = Signal(range(self._serial.cycles if self._serial else 1))
        products = [self._lane(m, lane, step) for lane in range(self.lanes)]
        added = Signal.like(total)
        m.d.comb += added.eq(total + sum(products[1:], start=products[0]))
        is_free = ~result.valid | result.ready
        is_last_step = step == (self._serial.cycles - 1 if self._serial else 0)
        m.d.comb += self.operands.ready.eq(is_last_step & (is_free | ~beat.last))
        with m.If(result.ready):
            m.d.sync += result.valid.eq(0)
        with m.If(self.operands.valid & ~is_last_step):
            m.d.sync += [total.eq(added), step.eq(step + 1)]
        with m.If(self.operands.valid & self.operands.ready):
            m.d.sync += [total.eq(added), step.eq(0)]
            with m.If(beat.last):
                m.d.sync += total.eq(0)
                m.d.sync += result.payload.eq(added)
                m.d.sync += result.valid.eq(1)
        return m

    def _lane(self, m: Module, lane: int, step: Signal) -> Value:
        """Return what a lane adds in a cycle: its product, or one term of it."""
        beat = self.operands.payload
        if self._serial is None:
            circuit = self._product(self.weights, self.activations)
            added = circuit.product
        else:
            circuit = self._serial.terms(self.weights, self.activations, self._serial.cycles)
            m.d.comb += circuit.step.eq(step)
            added = circuit.term
        m.submodules[f"lane_{lane}"] = circuit
        m.d.comb += circuit.weight.eq(beat.weights[lane])
        m.d.comb += circuit.activation.eq(beat.activations[lane])
        return added
