"""Sums of entries of loaded codebooks as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.catalog import FORMATS
from numerics.pe.codebook_dot import additive_dots
from rtl.codebook import ACTIVATION_BITS, DIMENSION, AdditiveDot, Lane, LaneReference
from rtl.dot_product_pe import LENGTH, gaussian_codes
from rtl.element import Obligation, Operands, ProcessingElement
from rtl.group_sum import signed_codes

INT8 = FORMATS["int8"]
RANDOM_BEATS = 6
#: Vectors that are read for every entry loaded.
TYPICAL_READS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditivePe(ProcessingElement):
    """One vector a beat, from ``books`` codebooks with codes of ``code_bits``."""

    lanes: int = DIMENSION
    books: int
    code_bits: int
    length: int = LENGTH

    @property
    def weight_name(self) -> str:
        """Codebooks and bits of a code."""
        return f"aqlm-{self.books}x{self.code_bits}"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return INT8.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Codebooks, entries and how they are loaded."""
        return (
            f"{self.name}: sums of {self.books} entries of 8 int8 numbers; {self.source}",
            f"{1 << self.code_bits} entries a book, groups of up to {self.length} values,",
            "a beat whose load is not 0 writes its activations to its codes of those books",
        )

    def build(self) -> AdditiveDot:
        """Return a new component."""
        if self.lanes != DIMENSION:
            raise ValueError(f"{self.lanes} lanes; vectors have 8 weights, and a beat is one")
        return AdditiveDot(books=self.books, code_bits=self.code_bits, length=self.length)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums with what was last loaded before each beat, zeros before that.

        All entries that ever come are one long codebook, whose codes are the beats that load them.
        """
        groups, beats, _ = operands["codes"].shape
        codes, load = operands["codes"].reshape(-1, self.books), operands["load"].ravel()
        numbers = signed_codes(operands["activations"]).reshape(-1, DIMENSION)
        loaded = np.concatenate([np.zeros((1, DIMENSION), np.int64), numbers])
        sources = [_sources(codes[:, book], load >> book & 1) for book in range(self.books)]
        entries = np.broadcast_to(loaded, (self.books, *loaded.shape))
        activations = np.where(load[:, None] == 0, numbers, 0)
        sources_of_beats = np.stack(sources, axis=-1).reshape(groups, beats, self.books)
        return np.asarray(additive_dots(entries, sources_of_beats, activations.reshape(groups, -1)))

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups that load entries at random and read those of their own."""
        random = np.random.default_rng(seed)
        shape = groups, RANDOM_BEATS
        codes = random.integers(0, 1 << self.code_bits, (*shape, self.books), np.uint16)
        load = random.integers(0, 1 << self.books, (*shape, 1), np.uint8)
        # The first beat loads every book, and what reads has the code of an earlier load.
        load[:, 0] = (1 << self.books) - 1
        for beat in range(1, RANDOM_BEATS):
            earlier = random.integers(0, beat, groups)
            for book in range(self.books):
                is_loaded = load[np.arange(groups), earlier, 0] >> book & 1
                source = np.where(is_loaded, earlier, 0)
                known = codes[np.arange(groups), source, book]
                reads = load[:, beat, 0] == 0
                codes[reads, beat, book] = known[reads]
        return {
            "codes": codes,
            "activations": random.integers(0, 256, (*shape, DIMENSION), np.uint8),
            "load": load,
        }

    def corners(self) -> Operands:
        """Return an entry of extremes, then the longest groups of extreme activations with it."""
        extremes = [0, 1, 127, 128, 255]
        pairs = np.stack(np.meshgrid(extremes, extremes), axis=-1).reshape(-1, 1, 2)
        beats = 1 + self.length // DIMENSION
        activations = np.repeat(pairs[..., 1], beats, axis=1)
        activations[:, 0] = pairs[:, 0, 0]
        load = np.zeros((len(pairs), beats, 1), np.int64)
        load[:, 0] = (1 << self.books) - 1
        last = (1 << self.code_bits) - 1
        return {
            "codes": np.full((len(pairs), beats, self.books), last),
            "activations": np.repeat(activations[..., None], DIMENSION, axis=2),
            "load": load,
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return all entries, loaded, and a few times as many vectors, all Gaussian."""
        random = np.random.default_rng(seed)
        entries = 1 << self.code_bits
        shape = groups, (1 + TYPICAL_READS) * entries
        codes = random.integers(0, entries, (*shape, self.books))
        codes[:, :entries] = np.arange(entries)[:, None]
        load = np.zeros((*shape, 1), np.int64)
        load[:, :entries] = (1 << self.books) - 1
        activations = gaussian_codes(INT8, random, (*shape, DIMENSION))
        return {"codes": codes, "activations": activations, "load": load}

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


def _sources(codes: np.ndarray, loads: np.ndarray) -> np.ndarray:
    """Return 1 plus the last beat that loaded each beat's code before it; 0 if none did."""
    beats = len(codes)
    keys = codes.astype(np.int64) * beats + np.arange(beats)
    loaded = np.sort(keys[loads == 1])
    last = np.searchsorted(loaded, keys) - 1
    if not len(loaded):
        return np.zeros(beats, np.int64)
    found = loaded[np.maximum(last, 0)]
    is_same = (last >= 0) & (found // beats == codes)
    return np.where(is_same, found % beats + 1, 0)
