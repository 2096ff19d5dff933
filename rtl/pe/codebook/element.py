"""Dot products of AQLM's and VPTQ's weights, with loadable codebooks, as processing elements."""

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
#: On average one random beat in ``RELOAD_BEATS`` loads an entry.
RELOAD_BEATS = 16
#: Beats of random groups that load the entry that they read.
LOADED_BEATS = 3
#: Vectors read per entry loaded, in typical groups.
TYPICAL_READS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditivePe(ProcessingElement, layer="rtl.pe.codebook.layer"):
    """AQLM: one vector per beat, from ``books`` codebooks with codes of ``code_bits``."""

    weight_field: ClassVar[str] = "codes"
    lanes: int = DIMENSION
    books: int
    code_bits: int
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Codes of vectors, activations, and the codebooks that a beat loads."""
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
            "codes of entries, vector by vector, one per codebook",
            "int8, one per weight of the vector; or the entry to load",
            "a bit per codebook: write the activations to its code's entry, add nothing",
        )

    @property
    def vectors(self) -> int:
        """Number of vectors per beat."""
        return 1

    @property
    def inputs(self) -> int:
        """Number of activations per beat."""
        return DIMENSION

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: codebooks, entries and how they are loaded."""
        return (
            f"{self.name}: sums of {self.books} entries of 8 int8 numbers; {self.source}",
            f"{1 << self.code_bits} entries per codebook, groups of up to {self.length} values;",
            "codebooks are zero at power-up and keep their entries over groups and resets",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product."""
        return "sum(w * a), each w the sum of one number from every codebook"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of the scheme, whose codebooks are FP16."""
        return nearest.rounded("codebooks")

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = additive_sum_bits(self.books, self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> LoadedBooks:
        """Return a new component."""
        if self.lanes != DIMENSION:
            raise ValueError(f"{self.lanes} lanes; vectors have 8 weights, and a beat is one")
        return AdditiveDot(books=self.books, code_bits=self.code_bits, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the dot products with the entries last loaded before each beat; zeros if none."""
        found = additive_dots(*self.decoded(operands, DIMENSION))
        return np.asarray(found)

    def decoded(self, operands: Operands, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return codebooks, codes and activations of groups; beats that load have activations of 0.

        All entries ever loaded form one long codebook; the index of an entry is that of the beat
        that loads it.
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
        """Beats of the longest groups: one that loads an entry, and those with vectors."""
        return 1 + self.length // self.inputs

    @property
    def typical_beats(self) -> int:
        """Beats of typical groups: one to load each entry, and those with vectors."""
        return (1 + TYPICAL_READS) << self.code_bits

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return random groups; the first beats load all entries, later beats reload some."""
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
        """Return the longest groups, of an extreme entry (loaded first) and extreme activations."""
        extremes = self.field("activations").corners
        found = ProcessingElement.corners(self)
        loaded = {name: np.repeat(codes, len(extremes), axis=0) for name, codes in found.items()}
        loaded["load"][:, 0] = (1 << self.books) - 1
        loaded["activations"][:, 0] = np.tile(extremes, len(extremes))[:, None]
        return loaded

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian groups: beats that load all entries, then vectors."""
        found = ProcessingElement.typical(self, groups, seed=seed)
        entries = 1 << self.code_bits
        found["codes"][:, :entries] = np.arange(entries)[:, None]
        found["load"][:, :entries] = (1 << self.books) - 1
        return found

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of a lane."""
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
    """VPTQ: vectors down the columns, ``columns`` per beat, with ``rows`` rows of each.

    Vectors of more rows take several PEs, each with its rows of the entries. Outlier columns, which
    have a separate codebook and no residual, form separate groups: the first codebook is loaded
    with their entries, the others with zeros, and the results of both groups are added.
    """

    rows: int
    columns: int

    @property
    def _words(self) -> tuple[str, str, str, str]:
        """Name of the weights, and descriptions of codes, activations and loads."""
        return (
            "vptq-k" + "-".join([str(1 << self.code_bits)] * self.books),
            "codes of entries, column by column, one per codebook",
            f"int8, one per column; or in the first {self.rows} the entry to load",
            "a bit per codebook: write to the first column's entry, add nothing",
        )

    @property
    def dots_per_result(self) -> int:
        """Number of rows."""
        return self.rows

    @property
    def vectors(self) -> int:
        """Number of columns."""
        return self.columns

    @property
    def inputs(self) -> int:
        """Number of columns."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: rows, columns, and how codebooks are loaded."""
        return (
            f"{self.name}: sums of {self.books} entries of {self.rows} int8 numbers; {self.source}",
            f"{1 << self.code_bits} entries per codebook, {self.rows} rows,",
            f"{self.columns} columns per beat, groups of up to {self.length} columns;",
            "codebooks are zero at power-up and keep their entries over groups and resets;",
            "columns with another codebook form a separate group, after it is loaded",
        )

    @property
    def result_meaning(self) -> str:
        """The dot products of the rows."""
        return "the dot product of each row"

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
        """Return the dot products of the rows, the first in the lowest bits."""
        sums = column_dots(*self.decoded(operands, self.rows))
        return pack_columns(np.asarray(sums), signed_shape(self.sum_bits))


def _sources(codes: np.ndarray, loads: np.ndarray, reads: np.ndarray, entries: int) -> np.ndarray:
    """Return, for each code read, 1 plus the last earlier beat that loaded it; 0 if none did.

    ``codes`` and ``loads`` have shape (groups, beats), ``reads`` (groups, beats, vectors). The
    beats of all groups are in sequence.
    """
    is_load = loads.ravel() != 0
    times = np.flatnonzero(is_load)
    noted = np.zeros((entries, 1 + len(times)), np.int32)
    noted[codes.ravel()[times], 1 + np.arange(len(times))] = 1 + times
    np.maximum.accumulate(noted, axis=1, out=noted)
    loads_before = (np.cumsum(is_load) - is_load).reshape(loads.shape)
    return np.asarray(noted[reads, loads_before[..., None]])
