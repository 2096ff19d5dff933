"""The fields of a PE's beat: meaning of their codes, and operands to verify and measure a PE.

A field makes three sets of operands: random codes, extreme codes (``corners``) for the longest
groups, and Gaussian codes (``typical``) for the energy.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numerics.formats import Format
from numerics.pe.exact_dot import integer_table

#: Codes by the name of their field in a beat, each of shape (groups, beats, lanes of the field).
Operands = dict[str, np.ndarray]
#: Number of groups, of beats per group, and of lanes.
BeatShape = tuple[int, int, int]
#: Standard deviation of typical operands over the largest value of their format.
SPREAD = 1 / 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Field(ABC):
    """One field of a beat, with ``lanes`` codes."""

    name: str
    lanes: int = 1
    #: Description of the codes in the head comment of the Verilog.
    words: str = ""
    #: Short name in tables of PEs; by default that of the format.
    label: str = ""

    @property
    def meaning(self) -> Format | str:
        """Format or description of the codes."""
        return self.words

    @property
    def spread(self) -> float:
        """Standard deviation of typical values over the largest value."""
        return SPREAD

    @property
    @abstractmethod
    def corners(self) -> Sequence[int]:
        """Extreme codes."""

    @abstractmethod
    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return random codes; ``drawn`` holds the fields that precede this one in the beat."""

    @abstractmethod
    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return codes distributed as in a real layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes(Field):
    """Codes of a number format; typical ones are Gaussian numbers, rounded."""

    format: Format

    def __post_init__(self) -> None:
        """Take the format's name where no label is given."""
        object.__setattr__(self, "label", self.label or self.format.name)

    @property
    def meaning(self) -> Format | str:
        """The format, or its description if one is given."""
        return self.words or self.format

    @property
    def spread(self) -> float:
        """Standard deviation of Gaussian numbers in the format."""
        return spread(self.format)

    @property
    def corners(self) -> Sequence[int]:
        """Codes of the extreme values."""
        return extremes(self.format)

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform codes."""
        return random_codes(random, self.format.bits, shape)

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return the codes nearest to Gaussian numbers."""
        return gaussian_codes(self.format, random, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers(Field):
    """Integers from ``low`` up to, but not including, ``high``."""

    low: int = 0
    high: int
    extremes: Sequence[int]
    #: Constant value in typical operands; ``None``: uniform random integers.
    usual: int | None = None
    #: Whether all beats of a group have the same integer.
    is_of_group: bool = False
    #: Format whose codes the integers are; ``None`` if ``words`` describes them.
    format: Format | None = None

    @property
    def meaning(self) -> Format | str:
        """The format, or its description if it has no format."""
        return self.format or self.words

    @property
    def corners(self) -> Sequence[int]:
        """Extreme integers."""
        return self.extremes

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform integers."""
        if self.is_of_group:
            of_groups = random.integers(self.low, self.high, (shape[0], 1, 1))
            return np.broadcast_to(of_groups, shape)
        bits = self.high.bit_length() - 1
        if self.low == 0 and self.high == 1 << bits:
            return random_codes(random, bits, shape)
        return random.integers(self.low, self.high, shape)

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return the constant ``usual``, or uniform integers."""
        if self.usual is not None:
            return np.full(shape, self.usual)
        return random.integers(self.low, self.high, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class CentredCodes(Integers):
    """Unsigned codes; typical ones are Gaussian with mean ``centre``."""

    centre: float

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return rounded Gaussian numbers."""
        found = np.rint(random.normal(self.centre, SPREAD * self.centre, shape))
        return np.clip(found, self.low, self.high - 1).astype(np.int64)


def random_codes(random: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform codes of up to 16 bits, several from each 64-bit word drawn."""
    dtype, size = np.dtype(np.uint8 if bits <= 8 else np.uint16), math.prod(shape)
    words = random.integers(0, 1 << 64, -(-size * dtype.itemsize // 8), np.uint64)
    codes: np.ndarray = words.view(dtype)[:size].reshape(shape)
    codes &= dtype.type((1 << bits) - 1)
    return codes


def spread(fmt: Format) -> float:
    """Return the standard deviation of typical operands over the largest value of their format.

    Ternary weights are divided by their mean magnitude before rounding: BitNet b1.58,
    arXiv:2402.17764.

    >>> from numerics import FORMATS
    >>> from rtl.pe.lookup.circuit import I2_S
    >>> round(spread(I2_S), 3), spread(FORMATS["int8"]) == SPREAD
    (1.253, True)
    """
    is_ternary = sorted(set(integer_table(fmt))) == [-1, 0, 1]
    return math.sqrt(math.pi / 2) if is_ternary else SPREAD


def gaussian_codes(fmt: Format, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return the codes nearest to Gaussian numbers."""
    table = np.array(integer_table(fmt))
    wanted = random.normal(0.0, spread(fmt) * abs(table).max(), shape)
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    return order[np.searchsorted(middles, wanted)]


def extremes(fmt: Format) -> list[int]:
    """Return the codes of the lowest, highest and smallest values, and of zeros."""
    table = np.array(integer_table(fmt))
    small = np.where(table == 0, table.max() + 1, np.abs(table))
    found = {int(table.argmin()), int(table.argmax()), int(small.argmin()), len(table) - 1}
    return sorted(found | set(np.flatnonzero(table == 0).tolist()))
