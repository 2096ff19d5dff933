"""Block-scaled dot products: an inner stage adds up a block, an outer stage scales and adds blocks.

A block ends after a fixed number of beats, or with the group. Its scales come with its last beat;
they are registered with its sum until the outer stage accepts both.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import BlockShifted
from rtl.arithmetic.scalers import Multiplied, Scaler, Shifted, scale_formats
from rtl.arithmetic.terms import Serial
from rtl.pe.dot_product.circuit import DotProduct, ProductFactory


class BlockDot(wiring.Component):
    """Dot products of groups of ``length`` values; each block's sum is multiplied by its scales.

    The latency is two cycles.
    """

    def __init__(
        self,
        model: BlockScaled | BlockShifted,
        product: ProductFactory,
        *,
        lanes: int,
        length: int,
        bits: int,
        serial: Serial | None = None,
    ) -> None:
        if model.block % lanes or length % model.block:
            raise ValueError(
                f"{lanes} lanes, blocks of {model.block} and groups of {length} values; "
                "each has to be a multiple of the previous one"
            )
        self._model, self._product, self._lanes, self._serial = model, product, lanes, serial
        formats = scale_formats(model)
        fields = {
            "weights": data.ArrayLayout(model.weights.bits, lanes),
            "activations": data.ArrayLayout(model.activations.bits, lanes),
            "scales": data.ArrayLayout(formats[0].bits, len(formats)),
        }
        if isinstance(model, BlockShifted):
            fields["lowest"] = model.lowest_bits
        total = signed_shape(bits)
        super().__init__(
            {
                "operands": In(stream.Signature(data.StructLayout({**fields, "last": 1}))),
                "result": Out(stream.Signature(total)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        model, beat = self._model, self.operands.payload
        m.submodules.inner = inner = DotProduct(
            model.weights,
            model.activations,
            self._product,
            lanes=self._lanes,
            length=model.block,
            serial=self._serial,
        )
        beats = model.block // self._lanes
        count = Signal(range(beats))
        ends_block = (count == beats - 1) | beat.last
        m.d.comb += [
            inner.operands.payload.weights.eq(beat.weights),
            inner.operands.payload.activations.eq(beat.activations),
            inner.operands.payload.last.eq(ends_block),
            inner.operands.valid.eq(self.operands.valid),
            self.operands.ready.eq(inner.operands.ready),
        ]
        m.submodules.scaler = scaler = _scaler(model)
        scales = Signal.like(beat.scales)
        ends_group = Signal()
        m.d.comb += scaler.total.eq(inner.result.payload)
        m.d.comb += scaler.scales.eq(scales)
        with m.If(self.operands.valid & self.operands.ready):
            m.d.sync += count.eq(count + 1)
            # The inner stage stalls the last beat of a block while its result is pending.
            with m.If(ends_block):
                m.d.sync += [count.eq(0), scales.eq(beat.scales), ends_group.eq(beat.last)]
        if isinstance(model, BlockShifted):
            lowest = Signal.like(beat.lowest)
            m.d.comb += scaler.lowest.eq(lowest)
            with m.If(self.operands.valid & self.operands.ready & ends_block):
                m.d.sync += lowest.eq(beat.lowest)
        self._outer(m, inner, scaler.scaled, ends_group)
        return m

    def _outer(self, m: Module, inner: DotProduct, scaled: Value, ends_group: Value) -> None:
        """Add a scaled block to its group, once the inner result is valid and unless stalled."""
        result, block = self.result, inner.result
        total = Signal.like(result.payload)
        after = Signal.like(result.payload)
        m.d.comb += after.eq(total + scaled)
        m.d.comb += block.ready.eq(~ends_group | ~result.valid | result.ready)
        with m.If(result.ready):
            m.d.sync += result.valid.eq(0)
        with m.If(block.valid & block.ready):
            m.d.sync += total.eq(after)
            with m.If(ends_group):
                m.d.sync += [total.eq(0), result.payload.eq(after), result.valid.eq(1)]


def _scaler(model: BlockScaled | BlockShifted) -> Scaler:
    return Shifted(model) if isinstance(model, BlockShifted) else Multiplied(model)
