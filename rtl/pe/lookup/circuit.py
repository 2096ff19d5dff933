"""Ternary weights by table lookup: TL1 and TL2 of bitnet.cpp, several columns at one table.

All columns share the table of sums of two or three activations. It holds one of each pair of
opposite sums; a sign in the code negates it.
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
#: bitnet.cpp's I2_S; a code is the weight plus one.
I2_S = TableFormat(name="i2_s", table=(-1.0, 0.0, 1.0))
ACTIVATION_BITS = INT8.bits
#: Bits of a code, by its number of weights.
CODE_BITS = {2: 4, 3: 5}
#: An entry is the sum of three activations at most, or its negative.
ENTRY_BITS = 10


def trits(number: int, size: int) -> tuple[int, ...]:
    """Return the digits -1, 0 and 1 of a number in base 3, the highest first.

    >>> trits(5, 3), trits(-4, 2)
    ((1, -1, -1), (-1, -1))
    """
    shifted = number + 3**size // 2
    return tuple(shifted // 3**place % 3 - 1 for place in reversed(range(size)))


def table(m: Module, activations: list[Value]) -> list[Value]:
    """Return the sums of activations for the numbers from 0 on, as signals of their own."""
    entries: list[Value] = []
    for number in range(3 ** len(activations) // 2 + 1):
        entry = Signal(signed_shape(ENTRY_BITS))
        m.d.comb += entry.eq(weighted(number, activations))
        entries.append(entry)
    return entries


def weighted(number: int, activations: list[Value]) -> Value:
    """Return the sum of activations that a number's trits add or subtract."""
    total: Value = Value.cast(0)
    for trit, activation in zip(trits(number, len(activations)), activations, strict=True):
        if trit:
            total = total + activation if trit > 0 else total - activation
    return total


def read(m: Module, entries: list[Value], code: Value, size: int) -> Value:
    """Return the entry of a code, negated for a negative number; 0 for codes of no weights."""
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
    """Return the number whose trits a code stands for; 0 for the codes of no weights.

    A pair has its number plus 4, a triple its number's magnitude below the sign.

    >>> number_of_code(0, 2), number_of_code(9, 2), number_of_code(0b1_0101, 3)
    (-4, 0, -5)
    """
    if size == 2:
        return code - 4 if code <= 8 else 0
    magnitude = code & 15
    return 0 if magnitude > 13 else -magnitude if code >> 4 else magnitude


def column_bits(length: int) -> int:
    """Return the bits of a sum of ``length`` activations, added or subtracted.

    >>> column_bits(128)
    16
    """
    return sum_bits(I2_S, INT8, length)


class Entry(wiring.Component):
    """Combinational: the sum of activations that one code adds, by the table."""

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
    """The same by definition: every code's weights add and subtract the activations."""

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
    """Adds table entries for some columns, each sum of ``bits``.

    A beat has ``tables`` times ``size`` activations, and for each table a code of every column.
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
        """Read each table once for every column."""
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
