"""The accumulator of a group, between the two streams of a processing element.

:mod:`rtl.element` explains the protocol.
"""

from abc import abstractmethod

import numpy as np
from amaranth.hdl import Const, Module, Shape, ShapeLike, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class GroupSum(wiring.Component):
    """An accumulator that each beat of a group updates, and the group's result.

    The accumulator (``before`` and ``after`` a cycle) starts every group at zero. A beat takes at
    most ``steps`` cycles.

    Members
    -------
    operands : in stream
        Beats: the PE's fields, and ``last``.
    result : out stream
        One registered result per group, in the cycle after its last beat.
    """

    #: Most cycles of a beat.
    steps = 1

    def __init__(
        self, fields: dict[str, ShapeLike], *, state: ShapeLike, result: ShapeLike
    ) -> None:
        self._state = state
        beat = data.StructLayout({**fields, "last": 1})
        super().__init__(
            {"operands": In(stream.Signature(beat)), "result": Out(stream.Signature(result))}
        )

    @abstractmethod
    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Return the accumulator after a cycle of a beat; ``step`` counts the beat's cycles."""

    def finish(self, m: Module, after: Signal) -> Value:
        """Return the group's result from the accumulator after the last beat."""
        return after

    def is_last_step(self, step: Value) -> Value:
        """Return whether a beat completes in this cycle."""
        return step == self.steps - 1

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        beat, result = self.operands.payload, self.result
        state = Signal(self._state)
        after = Signal(self._state)
        step = Signal(range(self.steps)) if self.steps > 1 else Const(0)
        m.d.comb += Value.cast(after).eq(self.add(m, state, step))
        is_done = self.is_last_step(step)
        is_free = ~result.valid | result.ready
        m.d.comb += self.operands.ready.eq(is_done & (is_free | ~beat.last))
        with m.If(result.ready):
            m.d.sync += result.valid.eq(0)
        if isinstance(step, Signal):
            with m.If(self.operands.valid & ~is_done):
                m.d.sync += [state.eq(after), step.eq(step + 1)]
        with m.If(self.operands.valid & self.operands.ready):
            m.d.sync += state.eq(after)
            if isinstance(step, Signal):
                m.d.sync += step.eq(0)
            with m.If(beat.last):
                m.d.sync += Value.cast(state).eq(0)
                m.d.sync += Value.cast(result.payload).eq(self.finish(m, after))
                m.d.sync += result.valid.eq(1)
        return m


def accumulator_width(need: int, asked: int | None, what: str) -> int:
    """Return the accumulator width in bits: ``asked``, or ``need`` if ``asked`` is ``None``.

    >>> accumulator_width(19, None, "128 products"), accumulator_width(19, 24, "128 products")
    (19, 24)
    """
    if asked is not None and asked < need:
        raise ValueError(
            f"an accumulator of {asked} bits is too narrow for sums of {what}, which need {need}"
        )
    return asked or need


def column_sums(bits: int, columns: int) -> data.ArrayLayout:
    """Return the layout of the sums of some columns, for both result and accumulator.

    A result is read as one unsigned number of at most 63 bits, so that it fits in int64.
    """
    if columns * bits >= 64:
        raise ValueError(
            f"{columns} columns of {bits} bits make results of {columns * bits} bits, of 63 at"
            f" most; take sums of up to {63 // columns} bits, or fewer columns"
        )
    return data.ArrayLayout(signed_shape(bits), columns)


def lanes_of_column(lanes: int, columns: int) -> int:
    """Return the lanes of each column; raise ValueError if the columns do not divide the lanes.

    >>> lanes_of_column(16, 4)
    4
    """
    if lanes < columns or lanes % columns:
        raise ValueError(f"{lanes} lanes for {columns} columns; give a multiple of the columns")
    return lanes // columns


def pack_columns(sums: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the sums of columns, shape (groups, columns), packed in a number of at most 63 bits.

    The first column is in the lowest bits. The number is unsigned, as arrays are in Amaranth.

    >>> pack_columns(np.array([[1, -1], [2, 0]]), Shape(4, signed=True)).tolist()
    [241, 2]
    """
    fields = sums & ((1 << shape.width) - 1)
    places = shape.width * np.arange(sums.shape[-1])
    return np.asarray(np.bitwise_or.reduce(fields << places, axis=-1))


def signed_codes(codes: np.ndarray) -> np.ndarray:
    """Return 8-bit codes as two's complement numbers.

    >>> signed_codes(np.array([1, 128, 255])).tolist()
    [1, -128, -1]
    """
    return (codes.astype(np.int32) ^ 128) - 128
