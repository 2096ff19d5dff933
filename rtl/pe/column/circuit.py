"""BitMoD's PE followed by its dequantizer, in a pipeline: a group is scaled during the next one.

A group ends with a beat whose ``ends_group`` is set, or with the channel; its last beat holds its
scale. Groups of at least eight cycles never stall for the dequantizer.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP16, FP32
from numerics.pe.aligned import AlignedDot
from numerics.pe.dequantizer import SCALE_BITS
from rtl.pe.aligned.circuit import AlignedCircuit
from rtl.pe.dequantizer.circuit import Dequantizer


class Column(wiring.Component):
    """Adds up a channel in FP32: dot products of groups from the aligned PE, times their scales."""

    def __init__(self, model: AlignedDot) -> None:
        self._model = model
        beat = data.StructLayout(
            {
                "weights": data.ArrayLayout(model.generator.weights.bits, model.lanes),
                "activations": data.ArrayLayout(FP16.bits, model.lanes),
                "scale": SCALE_BITS,
                "ends_group": 1,
                "last": 1,
            }
        )
        super().__init__(
            {"operands": In(stream.Signature(beat)), "result": Out(stream.Signature(FP32.bits))}
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.inner = inner = AlignedCircuit(self._model)
        m.submodules.dequantizer = dequantizer = Dequantizer(self._model)
        beat, group = self.operands.payload, inner.result
        ends_group = beat.ends_group | beat.last
        scale = Signal(SCALE_BITS)
        ends_channel = Signal()
        # Scale and end of the channel are registered when the inner PE accepts a group's last beat.
        with m.If(self.operands.valid & self.operands.ready & ends_group):
            m.d.sync += [scale.eq(beat.scale), ends_channel.eq(beat.last)]
        m.d.comb += [
            inner.operands.payload.weights.eq(beat.weights),
            inner.operands.payload.activations.eq(beat.activations),
            inner.operands.payload.last.eq(ends_group),
            inner.operands.valid.eq(self.operands.valid),
            self.operands.ready.eq(inner.operands.ready),
            dequantizer.operands.payload.mantissa.eq(group.payload.mantissa),
            dequantizer.operands.payload.exponent.eq(group.payload.exponent),
            dequantizer.operands.payload.scale.eq(scale),
            dequantizer.operands.payload.last.eq(ends_channel),
            dequantizer.operands.valid.eq(group.valid),
            group.ready.eq(dequantizer.operands.ready),
            self.result.payload.eq(dequantizer.result.payload),
            self.result.valid.eq(dequantizer.result.valid),
            dequantizer.result.ready.eq(self.result.ready),
        ]
        return m
