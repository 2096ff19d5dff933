"""Right shifts with sticky bits and rounding, and a count of leading zeros."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from numerics.pe.aligned import Rounding


def sticky_shift(m: Module, value: Value, places: Value) -> tuple[Value, Value]:
    """Return a value shifted right (arithmetic shift if signed), and the OR of the dropped bits."""
    lost: Value = Const(0)
    for stage, is_shifted in enumerate(places):
        by = 1 << stage
        after, dropped = Signal.like(value, name=f"by_{by}"), Signal(name=f"lost_{by}")
        m.d.comb += after.eq(Mux(is_shifted, value >> by, value))
        m.d.comb += dropped.eq(lost | (is_shifted & value[:by].any()))
        value, lost = after, dropped
    return value, lost


def rounded_shift(m: Module, value: Value, places: Value, rounding: Rounding) -> Value:
    """Return a value shifted right as :func:`numerics.pe.aligned.shifted` does."""
    value = Value.cast(value)
    if rounding == "truncate":
        return value >> places
    shape = value.shape()
    # One extra bit below the value; after the shift it is worth half a unit.
    wide = Signal(Shape(shape.width + 1, shape.signed))
    m.d.comb += wide.eq(value << 1)
    after, lost = sticky_shift(m, wide, Value.cast(places))
    is_up = after[0] & (lost | after[1])
    return (after >> 1) + is_up


def leading_zeros(m: Module, value: Value) -> Value:
    """Return the number of zeros above the highest one bit; the width less one for a value of 0."""
    count = Signal(range(len(value)))
    m.d.comb += count.eq(len(value) - 1)
    for bit in range(len(value)):
        with m.If(value[bit]):
            m.d.comb += count.eq(len(value) - 1 - bit)
    return count
