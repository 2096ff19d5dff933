"""Exact integer dot products of groups, ``lanes`` products per beat."""

from collections.abc import Callable

from amaranth.hdl import Module, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data

from numerics.formats import Format
from numerics.pe.exact_dot import sum_bits
from rtl.arithmetic.group_sum import GroupSum, accumulator_width
from rtl.arithmetic.products import Product
from rtl.arithmetic.terms import Serial

#: Function from the formats of weights and activations to the multiplier of one lane.
ProductFactory = Callable[[Format, Format], Product]


class DotProduct(GroupSum):
    """Dot products of groups of up to ``length`` values, ``lanes`` per beat.

    Parameters
    ----------
    length
        Largest number of values of a group; it sets the default accumulator width.
    accumulator_bits
        Accumulator width; ``None``: the width that is exact for every group.
    serial
        Term circuit that adds one term of each product per cycle; ``None``: whole products.

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
            raise ValueError(f"{lanes} lanes; give 1 to the length, {length}")
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
        """Add the products of all lanes, or one term of each product."""
        products = [self._lane(m, lane, step) for lane in range(self.lanes)]
        return before + sum(products[1:], start=products[0])

    def _lane(self, m: Module, lane: int, step: Value) -> Value:
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
