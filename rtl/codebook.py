"""Sums of entries of codebooks that are loaded: AQLM's vectors, in memories of their own.

A beat is a vector of eight weights, a code of each codebook, with its activations; or it loads an
entry, whose numbers come in place of the activations, into the books that ``load`` names.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.codebook_dot import ENTRY_BITS, largest_additive_sum
from rtl.adders import add_all
from rtl.group_sum import GroupSum

#: Weights of a vector.
DIMENSION = 8
ACTIVATION_BITS = 8


def additive_sum_bits(books: int, length: int) -> int:
    """Return the bits of a two's complement number that holds every sum.

    >>> additive_sum_bits(2, 128)
    24
    """
    return largest_additive_sum(books, length, 1 << ACTIVATION_BITS - 1).bit_length() + 1


class Lane(wiring.Component):
    """Combinational: the sum of one number of each codebook, times an activation."""

    def __init__(self, books: int) -> None:
        self._books = books
        super().__init__(
            {
                "entries": In(data.ArrayLayout(signed_shape(ENTRY_BITS), books)),
                "activation": In(signed_shape(ACTIVATION_BITS)),
                "product": Out(signed_shape(additive_sum_bits(books, 1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the sum shifted for each bit of the activation, whose sign bit subtracts."""
        m = Module()
        weight = add_all([self.entries[book] for book in range(self._books)])
        terms = [Mux(self.activation[i], weight << i, 0) for i in range(ACTIVATION_BITS)]
        m.d.comb += self.product.eq(add_all(terms[:-1]) - terms[-1])
        return m


class LaneReference(Lane):
    """The same by ``*``."""

    def elaborate(self, platform: object) -> Module:
        """Return one multiplication."""
        m = Module()
        weight = sum(self.entries[book] for book in range(self._books))
        m.d.comb += self.product.eq(weight * self.activation)
        return m


class AdditiveDot(GroupSum):
    """Sums vectors' products over groups of up to ``length`` values.

    Books start from zeros and outlast groups and resets. They are read in the cycle of a beat.
    """

    def __init__(self, *, books: int, code_bits: int, length: int) -> None:
        self._books, self._code_bits = books, code_bits
        fields = {
            "codes": data.ArrayLayout(code_bits, books),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), DIMENSION),
            "load": books,
        }
        total = signed_shape(additive_sum_bits(books, length))
        super().__init__(fields, state=total, result=total)

    def add(self, m: Module, before: Signal, step: Signal) -> Value:
        """Add a vector's products, unless the beat loads."""
        beat = self.operands.payload
        entries = [self._entry(m, book) for book in range(self._books)]
        products: list[Value] = []
        for lane in range(DIMENSION):
            m.submodules[f"lane_{lane}"] = circuit = Lane(self._books)
            numbers = Cat(entry.word_select(lane, ENTRY_BITS) for entry in entries)
            m.d.comb += circuit.entries.as_value().eq(numbers)
            m.d.comb += circuit.activation.eq(beat.activations[lane])
            products.append(circuit.product)
        return before + Mux(beat.load.any(), 0, add_all(products))

    def _entry(self, m: Module, book: int) -> Value:
        """Return the entry that a beat reads from a book, which it may load."""
        beat, width = self.operands.payload, ENTRY_BITS * DIMENSION
        m.submodules[f"book_{book}"] = table = memory.Memory(
            shape=width, depth=1 << self._code_bits, init=[]
        )
        write, read = table.write_port(), table.read_port(domain="comb")
        is_taken = self.operands.valid & self.operands.ready
        m.d.comb += [
            read.addr.eq(beat.codes[book]),
            write.addr.eq(beat.codes[book]),
            write.data.eq(beat.activations.as_value()),
            write.en.eq(is_taken & beat.load[book]),
        ]
        entry: Value = read.data
        return entry
