"""Sums of entries of loaded codebooks as a processing element."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.formats import FORMATS
from numerics.pe.codebook_dot import additive_dots, column_dots
from rtl.arithmetic.group_sum import accumulator_width, pack_columns, signed_codes
from rtl.element import Obligation, ProcessingElement
from rtl.fields import Codes, Field, Integers, Operands, random_codes
from rtl.pe import nearest
from rtl.pe.codebook.circuit import (
    ACTIVATION_BITS,
    DIMENSION,
    AdditiveDot,
    ColumnDots,
    Lane,
    LaneReference,
    LoadedBooks,
    additive_sum_bits,
)

INT8 = FORMATS["int8"]
#: One random beat in ``RELOAD_BEATS`` may load an entry.
RELOAD_BEATS = 16
#: Beats of groups that load the entry that they read.
LOADED_BEATS = 3
#: Vectors read per entry loaded, in typical groups.
TYPICAL_READS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditivePe(ProcessingElement, layer="rtl.pe.codebook.layer"):
    """One vector a beat, from ``books`` codebooks with codes of ``code_bits``."""

    weight_field: ClassVar[str] = "codes"
    lanes: int = DIMENSION
    books: int
    code_bits: int
    #: Width of each sum; the width of every exact sum if none.
    accumulator_bits: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Codes of vectors, activations, and which books a beat loads."""
        label, codes, activations, load = self._words
        entries = 1 << self.code_bits
        return (
            Integers(
                name="codes",
                label=label,
                words=codes,
                lanes=self.vectors * self.books,
                high=entries,
                extremes=(entries - 1,),
            ),
            Codes(name="activations", lanes=self.inputs, format=INT8, words=activations),
            Integers(name="load", words=load, high=1 << self.books, extremes=(0,), usual=0),
        )

    @property
    def _words(self) -> tuple[str, str, str, str]:
        """Name of the weights, and descriptions of codes, activations and loads."""
        return (
            f"aqlm-{self.books}x{self.code_bits}",
            "entries by vector, and of each vector by book",
            "int8, one of each weight of the vector; or an entry that is loaded",
            "a bit for each book: write the activations to its code's entry, add nothing",
        )

    @property
    def vectors(self) -> int:
        """Vectors of a beat."""
        return 1

    @property
    def inputs(self) -> int:
        """Activations of a beat."""
        return DIMENSION

    @property
    def notes(self) -> tuple[str, ...]:
        """Codebooks, entries and how they are loaded."""
        return (
            f"{self.name}: sums of {self.books} entries of 8 int8 numbers; {self.source}",
            f"{1 << self.code_bits} entries a book, groups of up to {self.length} values;",
            "books start from zeros and outlast groups and resets",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product."""
        return "sum(w * a), each w the sum of an entry's number of every book"

    @property
    def nearest_sweep(self) -> str:
        """A sweep of the scheme, whose codebooks are FP16."""
        return nearest.rounded("codebooks")

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = additive_sum_bits(self.books, self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> LoadedBooks:
        """Return a new component."""
        if self.lanes != DIMENSION:
            raise ValueError(f"{self.lanes} lanes; vectors have 8 weights, and a beat is one")
        return AdditiveDot(books=self.books, code_bits=self.code_bits, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums with what was last loaded before each beat, zeros before that."""
        found = additive_dots(*self.decoded(operands, DIMENSION))
        return np.asarray(found)

    def decoded(self, operands: Operands, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return codebooks, codes and activations of groups; beats that load have zeros.

        All entries that ever come are one long codebook, whose codes are the beats that load them.
        """
        groups = len(operands["codes"])
        codes = operands["codes"].reshape(groups, -1, self.vectors, self.books)
        load = operands["load"][..., 0]
        numbers = signed_codes(operands["activations"]).reshape(-1, self.inputs)
        loaded = np.concatenate([np.zeros((1, size), np.int32), numbers[:, :size]])
        sources = [
            _sources(codes[:, :, 0, book], load >> book & 1, codes[..., book], 1 << self.code_bits)
            for book in range(self.books)
        ]
        entries = np.broadcast_to(loaded, (self.books, *loaded.shape))
        activations = np.where(load.reshape(-1, 1) == 0, numbers, 0)
        of_vectors = np.stack(sources, axis=-1).reshape(groups, -1, self.books)
        return entries, of_vectors, activations.reshape(groups, -1)

    @property
    def longest_beats(self) -> int:
        """A beat that loads an entry, and the longest group."""
        return 1 + self.length // self.inputs

    @property
    def typical_beats(self) -> int:
        """A beat for every entry, and some for vectors."""
        return (1 + TYPICAL_READS) << self.code_bits

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups that read at random; the first beats load all entries, later ones some."""
        found = ProcessingElement.random(self, groups, seed=seed)
        codes = found["codes"].reshape(-1, self.vectors * self.books)
        load = found["load"].reshape(-1)
        draws = random_codes(np.random.default_rng(seed), 8, load.shape)
        load[draws % RELOAD_BEATS != 0] = 0
        entries = np.arange(min(1 << self.code_bits, len(load)))
        codes[entries], load[entries] = entries[:, None], (1 << self.books) - 1
        return found

    def independent(self, groups: int) -> Operands:
        """Return short groups, each of which loads the entry that it reads."""
        corners = self.corners()
        spread = np.linspace(0, len(corners["codes"]) - 1, groups).astype(int)
        return {name: codes[spread, :LOADED_BEATS] for name, codes in corners.items()}

    def corners(self) -> Operands:
        """Return an entry of extremes, then the longest groups of extreme activations with it."""
        extremes = self.field("activations").corners
        found = ProcessingElement.corners(self)
        loaded = {name: np.repeat(codes, len(extremes), axis=0) for name, codes in found.items()}
        loaded["load"][:, 0] = (1 << self.books) - 1
        loaded["activations"][:, 0] = np.tile(extremes, len(extremes))[:, None]
        return loaded

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return beats that load all entries, and vectors, all Gaussian."""
        found = ProcessingElement.typical(self, groups, seed=seed)
        entries = 1 << self.code_bits
        found["codes"][:, :entries] = np.arange(entries)[:, None]
        found["load"][:, :entries] = (1 << self.books) - 1
        return found

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product of a lane."""
        return (
            Obligation(
                what="lane equals the entries' sum and *",
                circuit=lambda: Lane(self.books),
                reference=lambda: LaneReference(self.books),
                input_bits=(self.books + 1) * ACTIVATION_BITS,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnBooksPe(AdditivePe, layer="rtl.pe.codebook.columns_layer"):
    """Some rows of vectors down columns, ``columns`` of them a beat, as VPTQ has them.

    Vectors of more rows take more PEs, each with the rows of the entries that it adds. Outlier
    columns, which have a codebook of their own and no residual, are groups of their own: the first
    book is loaded with their entries and the others with zeros, and rows add the results of both.
    """

    rows: int
    columns: int

    @property
    def _words(self) -> tuple[str, str, str, str]:
        """Name of the weights, by the entries of main and residual book, and descriptions."""
        return (
            "vptq-k" + "-".join([str(1 << self.code_bits)] * self.books),
            "entries by column, and of each column by book",
            f"int8, one a column; or the first {self.rows} an entry that is loaded",
            "a bit for each book: write to the first column's entry, add nothing",
        )

    @property
    def dots_per_result(self) -> int:
        """One a row."""
        return self.rows

    @property
    def vectors(self) -> int:
        """One a column."""
        return self.columns

    @property
    def inputs(self) -> int:
        """One a column."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Rows, columns, and how codebooks are loaded."""
        return (
            f"{self.name}: sums of {self.books} entries of {self.rows} int8 numbers; {self.source}",
            f"{1 << self.code_bits} entries a book, {self.rows} rows,",
            f"{self.columns} columns a beat, groups of up to {self.length} columns;",
            "books start from zeros and outlast groups and resets;",
            "columns with another codebook are a group of their own, after its load",
        )

    @property
    def result_meaning(self) -> str:
        """The dot products of the rows."""
        return "the sum of each row"

    def build(self) -> LoadedBooks:
        """Return a new component."""
        if self.lanes != self.rows * self.columns:
            raise ValueError(f"{self.lanes} lanes for {self.rows} rows of {self.columns} columns")
        return ColumnDots(
            books=self.books,
            code_bits=self.code_bits,
            rows=self.rows,
            columns=self.columns,
            bits=self.sum_bits,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of the rows, the first in the lowest bits."""
        sums = column_dots(*self.decoded(operands, self.rows))
        return pack_columns(np.asarray(sums), signed_shape(self.sum_bits))


def _sources(codes: np.ndarray, loads: np.ndarray, reads: np.ndarray, entries: int) -> np.ndarray:
    """Return 1 plus the last beat before each that loaded a code it reads; 0 if none did.

    ``codes`` and ``loads`` have shape (groups, beats), ``reads`` (groups, beats, vectors). All
    beats follow one another; after each load the last ones of all entries are noted.
    """
    is_load = loads.ravel() != 0
    times = np.flatnonzero(is_load)
    noted = np.zeros((entries, 1 + len(times)), np.int32)
    noted[codes.ravel()[times], 1 + np.arange(len(times))] = 1 + times
    np.maximum.accumulate(noted, axis=1, out=noted)
    loads_before = (np.cumsum(is_load) - is_load).reshape(loads.shape)
    return np.asarray(noted[reads, loads_before[..., None]])
