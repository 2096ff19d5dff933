"""Signs with a scale and an offset of every input, several outputs at the same products."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FORMATS
from numerics.pe.column_signs import BITS, column_sign_bits
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum, column_sums
from rtl.pe.dot_product.circuit import ProductFactory

INT8 = FORMATS["int8"]


class ColumnTerm(wiring.Component):
    """Combinational: an activation times the scale with the sign of a bit, and times the offset."""

    def __init__(self, product: ProductFactory) -> None:
        self._product = product
        number = signed_shape(BITS)
        super().__init__(
            {
                "activation": In(number),
                "scale": In(number),
                "offset": In(number),
                "scaled": Out(signed_shape(2 * BITS)),
                "shared": Out(signed_shape(2 * BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return two products."""
        m = Module()
        for name, weight, found in (
            ("scale", self.scale, self.scaled),
            ("offset", self.offset, self.shared),
        ):
            m.submodules[f"of_{name}"] = circuit = self._product(INT8, INT8)
            m.d.comb += circuit.weight.eq(weight)
            m.d.comb += circuit.activation.eq(self.activation)
            m.d.comb += found.eq(circuit.product)
        return m


class ColumnSigns(GroupSum):
    """Adds signed products for some columns, and the offsets' products once for all of them.

    A beat has ``values`` activations with scale and offset, and for each a bit of every column.
    """

    def __init__(
        self, product: ProductFactory, *, columns: int, values: int, length: int, bits: int
    ) -> None:
        self._product, self._columns, self._values = product, columns, values
        sums, number = column_sums(bits, columns), signed_shape(BITS)
        row = signed_shape(column_sign_bits(length))
        fields = {
            "signs": data.ArrayLayout(1, columns * values),
            **{
                name: data.ArrayLayout(number, values)
                for name in ("activations", "scales", "offsets")
            },
        }
        state = data.StructLayout({"sums": sums, "row": row})
        super().__init__(fields, state=state, result=sums)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add or subtract each scaled activation, by the column's bit."""
        beat, after = self.operands.payload, Signal.like(before)
        terms = []
        for value in range(self._values):
            m.submodules[f"term_{value}"] = term = ColumnTerm(self._product)
            m.d.comb += [
                term.activation.eq(beat.activations[value]),
                term.scale.eq(beat.scales[value]),
                term.offset.eq(beat.offsets[value]),
            ]
            terms.append(term)
        for column in range(self._columns):
            signed = [
                Mux(beat.signs[value * self._columns + column], term.scaled, -term.scaled)
                for value, term in enumerate(terms)
            ]
            m.d.comb += after.sums[column].eq(before.sums[column] + add_all(signed))
        m.d.comb += after.row.eq(before.row + add_all([term.shared for term in terms]))
        return after.as_value()

    def finish(self, m: Module, after: Signal) -> Value:
        """Add the offsets' sum to every column."""
        result = Signal.like(self.result.payload)
        m.d.comb += [
            result[column].eq(after.sums[column] + after.row) for column in range(self._columns)
        ]
        return result.as_value()
