"""Dot products of weights with zero points, subtracted at the end of a group.

``sum((w - zero) * a) = sum(w * a) - zero * sum(a)``; all columns share ``sum(a)``.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import Format
from numerics.pe.exact_dot import integer_table
from numerics.pe.zero_point import difference_bits
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.decoder import is_twos_complement
from rtl.arithmetic.group_sum import GroupSum, column_sums
from rtl.pe.dot_product.circuit import ProductFactory


def row_bits(activations: Format, length: int) -> int:
    """Return the bits of a two's complement number that holds any sum of ``length`` activations.

    >>> from numerics import FORMATS
    >>> row_bits(FORMATS["int8"], 128)
    15
    """
    table = integer_table(activations)
    return max((length * max(table)).bit_length(), (-length * min(table) - 1).bit_length()) + 1


class Correction(wiring.Component):
    """Combinational: ``total - zero * row``, by shift and add over the bits of ``zero``."""

    def __init__(self, weights: Format, activations: Format, *, length: int) -> None:
        total = signed_shape(difference_bits(weights, activations, length))
        super().__init__(
            {
                "total": In(total),
                "row": In(signed_shape(row_bits(activations, length))),
                "zero": In(weights.bits),
                "result": Out(total),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        found: Value = self.total
        for place in range(len(self.zero)):
            found = found - Mux(self.zero[place], self.row << place, 0)
        m.d.comb += self.result.eq(found)
        return m


class CorrectionReference(Correction):
    """Reference of :class:`Correction`, with ``*``."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.d.comb += self.result.eq(self.total - self.zero * self.row)
        return m


class ZeroPoint(GroupSum):
    """Dot products of several columns; zero points are read in a group's last beat.

    A beat has ``values`` activations, and for each of them one weight per column. Weights are
    unsigned codes.
    """

    def __init__(
        self,
        weights: Format,
        activations: Format,
        product: ProductFactory,
        *,
        columns: int,
        values: int,
        length: int,
        bits: int,
    ) -> None:
        if integer_table(weights) != tuple(range(1 << weights.bits)):
            raise ValueError(
                f"{weights.name} is not an unsigned integer; use a format such as uint4"
            )
        if not is_twos_complement(activations):
            raise ValueError(f"{activations.name} is not a two's complement number; use int8")
        self._formats, self._product = (weights, activations), product
        self._columns, self._values, self._length = columns, values, length
        sums = column_sums(bits, columns)
        state = data.StructLayout(
            {"sums": sums, "row": signed_shape(row_bits(activations, length))}
        )
        fields = {
            "weights": data.ArrayLayout(weights.bits, columns * values),
            "activations": data.ArrayLayout(activations.bits, values),
            "zeros": data.ArrayLayout(weights.bits, columns),
        }
        super().__init__(fields, state=state, result=sums)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add a beat's dot products to the columns, and its activations to their sum."""
        beat, after = self.operands.payload, Signal.like(before)
        for column in range(self._columns):
            products = []
            for value in range(self._values):
                circuit = self._product(*self._formats)
                m.submodules[f"product_{column}_{value}"] = circuit
                m.d.comb += circuit.weight.eq(beat.weights[value * self._columns + column])
                m.d.comb += circuit.activation.eq(beat.activations[value])
                products.append(circuit.product)
            m.d.comb += after.sums[column].eq(before.sums[column] + add_all(products))
        activations = [beat.activations[value].as_signed() for value in range(self._values)]
        m.d.comb += after.row.eq(before.row + add_all(activations))
        return after.as_value()

    def finish(self, m: Module, after: Signal) -> Value:
        """Return the columns' sums, less zero points times the sum of activations."""
        result = Signal.like(self.result.payload)
        for column in range(self._columns):
            correction = Correction(*self._formats, length=self._length)
            m.submodules[f"correction_{column}"] = correction
            m.d.comb += correction.total.eq(after.sums[column])
            m.d.comb += correction.row.eq(after.row)
            m.d.comb += correction.zero.eq(self.operands.payload.zeros[column])
            m.d.comb += result[column].eq(correction.result)
        return result.as_value()
