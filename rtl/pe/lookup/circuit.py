"""Dot products of ternary weights by table look-up: TL1 and TL2 of bitnet.cpp.

A table holds the sums of two (TL1) or three (TL2) activations with ternary weights; all columns
share it. Of two opposite sums it holds one, and a code's sign negates the entry.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FORMATS, TableFormat
from numerics.pe.exact_dot import sum_bits
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum, column_sums

INT8 = FORMATS["int8"]
#: Ternary format of bitnet.cpp's I2_S; a code is the weight plus one.
I2_S = TableFormat(name="i2_s", table=(-1.0, 0.0, 1.0))
ACTIVATION_BITS = INT8.bits
#: Bits of a code, by the number of weights that it stands for.
CODE_BITS = {2: 4, 3: 5}
#: Bits of a table entry: a sum of at most three INT8 activations, with sign.
ENTRY_BITS = 10


def trits(number: int, size: int) -> tuple[int, ...]:
    """Return the balanced ternary digits (-1, 0, 1) of a number, the highest first.

    >>> trits(5, 3), trits(-4, 2)
    ((1, -1, -1), (-1, -1))
    """
    shifted = number + 3**size // 2
    return tuple(shifted // 3**place % 3 - 1 for place in reversed(range(size)))


def table(m: Module, activations: list[Value]) -> list[Value]:
    """Return the table: for each number from 0, a signal with its sum of activations."""
    entries: list[Value] = []
    for number in range(3 ** len(activations) // 2 + 1):
        entry = Signal(signed_shape(ENTRY_BITS))
        m.d.comb += entry.eq(weighted(number, activations))
        entries.append(entry)
    return entries


def weighted(number: int, activations: list[Value]) -> Value:
    """Return the dot product of activations and the balanced ternary digits of a number."""
    total: Value = Value.cast(0)
    for trit, activation in zip(trits(number, len(activations)), activations, strict=True):
        if trit:
            total = total + activation if trit > 0 else total - activation
    return total


def read(m: Module, entries: list[Value], code: Value, size: int) -> Value:
    """Return the table entry of a code, negated by its sign; 0 for unused codes."""
    if size == 2:
        is_negative = code < 4
        magnitude: Value = Mux(is_negative, 4 - code, code - 4)[:4]
    else:
        is_negative, magnitude = code[4], code[:4]
    entry, found = Signal(signed_shape(ENTRY_BITS)), Signal(signed_shape(ENTRY_BITS))
    with m.Switch(magnitude):
        for number, value in enumerate(entries):
            with m.Case(number):
                m.d.comb += entry.eq(value)
    m.d.comb += found.eq((entry ^ is_negative.replicate(ENTRY_BITS)) + is_negative)
    return found


def number_of_code(code: int, size: int) -> int:
    """Return the number whose ternary digits are a code's weights; 0 for unused codes.

    The code of two weights is the number plus 4; that of three is sign and magnitude.

    >>> number_of_code(0, 2), number_of_code(9, 2), number_of_code(0b1_0101, 3)
    (-4, 0, -5)
    """
    if size == 2:
        return code - 4 if code <= 8 else 0
    magnitude = code & 15
    return 0 if magnitude > 13 else -magnitude if code >> 4 else magnitude


def column_bits(length: int) -> int:
    """Return the accumulator width in bits that is exact for ``length`` ternary weights.

    >>> column_bits(128)
    16
    """
    return sum_bits(I2_S, INT8, length)


class Entry(wiring.Component):
    """Combinational: the table entry of one code, to prove table and look-up correct."""

    def __init__(self, size: int) -> None:
        self._size = size
        activations = data.ArrayLayout(signed_shape(ACTIVATION_BITS), size)
        super().__init__(
            {
                "code": In(CODE_BITS[size]),
                "activations": In(activations),
                "entry": Out(signed_shape(ENTRY_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        entries = table(m, [self.activations[i] for i in range(self._size)])
        m.d.comb += self.entry.eq(read(m, entries, self.code, self._size))
        return m


class EntryReference(Entry):
    """Reference of :class:`Entry`: a code's weights times the activations."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        activations = [self.activations[i] for i in range(self._size)]
        with m.Switch(self.code):
            for code in range(1 << CODE_BITS[self._size]):
                with m.Case(code):
                    number = number_of_code(code, self._size)
                    m.d.comb += self.entry.eq(weighted(number, activations))
        return m


class Lookup(GroupSum):
    """Dot products of several columns by table look-up, in accumulators of ``bits``.

    A beat has ``tables`` times ``size`` activations, and for each table one code per column.
    """

    def __init__(self, *, size: int, columns: int, tables: int, bits: int) -> None:
        self._size, self._columns, self._tables = size, columns, tables
        sums = column_sums(bits, columns)
        fields = {
            "codes": data.ArrayLayout(CODE_BITS[size], columns * tables),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), size * tables),
        }
        super().__init__(fields, state=sums, result=sums)

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add the entry of every table, looked up for each column."""
        beat, size = self.operands.payload, self._size
        found = []
        for index in range(self._tables):
            entries = table(m, [beat.activations[size * index + i] for i in range(size)])
            codes = [beat.codes[self._columns * index + column] for column in range(self._columns)]
            found.append([read(m, entries, code, size) for code in codes])
        after = Signal.like(before)
        for column, read_of_column in enumerate(zip(*found, strict=True)):
            m.d.comb += after[column].eq(before[column] + add_all(read_of_column))
        return after.as_value()
