"""Dot products of weights that are sums of codebook entries, with codebooks in loadable memories.

AQLM's vectors lie along a row: a beat holds the codes (one per codebook) of one vector of eight
weights, and eight activations. VPTQ's vectors lie down a column: a beat holds the vectors of some
columns and one activation for each. A beat with ``load`` set instead writes an entry, given in the
field of the activations, to the selected codebooks, at the codes of its first vector.
"""

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from numerics.pe.codebook_dot import ENTRY_BITS, largest_additive_sum
from rtl.arithmetic.adders import add_all
from rtl.arithmetic.group_sum import GroupSum, column_sums

#: Weights of a vector.
DIMENSION = 8
ACTIVATION_BITS = 8


def additive_sum_bits(books: int, length: int) -> int:
    """Return the accumulator width in bits that is exact for ``length`` values.

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
    """Reference of :class:`Lane`: one multiplication with ``*``."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit: one multiplication."""
        m = Module()
        weight = sum(self.entries[book] for book in range(self._books))
        m.d.comb += self.product.eq(weight * self.activation)
        return m


class LoadedBooks(GroupSum):
    """Codebooks with entries of ``size`` numbers, read for some vectors per beat.

    Codebooks are zero at power-up and keep their entries over groups and resets. They are read in
    the cycle of the beat.
    """

    def __init__(
        self,
        *,
        books: int,
        code_bits: int,
        size: int,
        vectors: int,
        activations: int,
        total: ShapeLike,
    ) -> None:
        self._books, self._code_bits, self._size, self._vectors = books, code_bits, size, vectors
        fields = {
            "codes": data.ArrayLayout(code_bits, vectors * books),
            "activations": data.ArrayLayout(signed_shape(ACTIVATION_BITS), activations),
            "load": books,
        }
        super().__init__(fields, state=total, result=total)

    def entries(self, m: Module) -> list[list[Value]]:
        """Return the entries of a beat's vectors in each codebook; add the write ports."""
        found = [self._read(m, book) for book in range(self._books)]
        return [list(of_vector) for of_vector in zip(*found, strict=True)]

    def _read(self, m: Module, book: int) -> list[Value]:
        beat, width = self.operands.payload, ENTRY_BITS * self._size
        m.submodules[f"book_{book}"] = table = memory.Memory(
            shape=width, depth=1 << self._code_bits, init=[]
        )
        write = table.write_port()
        is_taken = self.operands.valid & self.operands.ready
        m.d.comb += [
            write.addr.eq(beat.codes[book]),
            write.data.eq(beat.activations.as_value()[:width]),
            write.en.eq(is_taken & beat.load[book]),
        ]
        found: list[Value] = []
        for vector in range(self._vectors):
            read = table.read_port(domain="comb")
            m.d.comb += read.addr.eq(beat.codes[vector * self._books + book])
            found.append(read.data)
        return found

    def product(
        self, m: Module, name: str, entries: list[Value], place: int, activation: Value
    ) -> Value:
        """Return the sum of the entries' numbers at one index, times an activation."""
        m.submodules[name] = circuit = Lane(self._books)
        numbers = Cat(entry.word_select(place, ENTRY_BITS) for entry in entries)
        m.d.comb += circuit.entries.as_value().eq(numbers)
        m.d.comb += circuit.activation.eq(activation)
        product: Value = circuit.product
        return product


class AdditiveDot(LoadedBooks):
    """AQLM: the dot product of one vector per beat, in an accumulator of ``bits``."""

    def __init__(self, *, books: int, code_bits: int, bits: int) -> None:
        super().__init__(
            books=books,
            code_bits=code_bits,
            size=DIMENSION,
            vectors=1,
            activations=DIMENSION,
            total=signed_shape(bits),
        )

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add a vector's dot product, unless the beat loads."""
        beat = self.operands.payload
        (entries,) = self.entries(m)
        products = [
            self.product(m, f"lane_{lane}", entries, lane, beat.activations[lane])
            for lane in range(DIMENSION)
        ]
        return before + Mux(beat.load.any(), 0, add_all(products))


class ColumnDots(LoadedBooks):
    """VPTQ: dot products of ``rows`` rows in accumulators of ``bits``, ``columns`` per beat."""

    def __init__(self, *, books: int, code_bits: int, rows: int, columns: int, bits: int) -> None:
        if not 1 <= rows <= columns:
            raise ValueError(
                f"{rows} rows and {columns} columns a beat; an entry is loaded in place of the"
                " activations, so that there are at least as many of them"
            )
        super().__init__(
            books=books,
            code_bits=code_bits,
            size=rows,
            vectors=columns,
            activations=columns,
            total=column_sums(bits, rows),
        )

    def add(self, m: Module, before: Signal, step: Value) -> Value:
        """Add every column's vector times its activation, unless the beat loads."""
        beat, after = self.operands.payload, Signal.like(before)
        entries = self.entries(m)
        for row in range(self._size):
            products = [
                self.product(m, f"lane_{row}_{column}", of_column, row, beat.activations[column])
                for column, of_column in enumerate(entries)
            ]
            added = Mux(beat.load.any(), 0, add_all(products))
            m.d.comb += after[row].eq(before[row] + added)
        return after.as_value()
