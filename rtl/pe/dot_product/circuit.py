"""Exact dot products of groups, one beat of lanes at a time."""

from collections.abc import Callable

from amaranth.hdl import Module, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data

from numerics.formats import Format
from numerics.pe.exact_dot import sum_bits
from rtl.arithmetic.group_sum import GroupSum, accumulator_width
from rtl.arithmetic.products import Product
from rtl.arithmetic.terms import Serial

#: Makes one lane's product of the formats of weights and activations.
ProductFactory = Callable[[Format, Format], Product]


class DotProduct(GroupSum):
    """Sums products of ``lanes`` weights and activations a beat over groups of ``length``.

    Parameters
    ----------
    length
        The most values of a group; it decides the width of an exact accumulator.
    accumulator_bits
        Width of the sum; the width of every exact sum if none.
    serial
        Adds one term of each product a cycle, in as many cycles as it has terms.

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
        self.steps = serial.cycles if serial else 1
        fields = {
            "weights": data.ArrayLayout(weights.bits, lanes),
            "activations": data.ArrayLayout(activations.bits, lanes),
        }
        super().__init__(fields, state=signed_shape(bits), result=signed_shape(bits))

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add the lanes' products, or a term of each."""
        products = [self._lane(m, lane, step) for lane in range(self.lanes)]
        return before + sum(products[1:], start=products[0])

    def _lane(self, m: Module, lane: int, step: Value) -> Value:
        """Return the summand of a lane in a cycle: its product, or one term of it."""
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
