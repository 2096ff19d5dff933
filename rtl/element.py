"""What every processing element is: a circuit behind two streams, and the model it has to equal.

``operands`` takes a beat whenever ``valid`` and ``ready`` are high; a beat's ``last`` ends a group.
``result`` gives one number for a group, and holds it until it is taken. Emission, verification and
costs need nothing else of a PE.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
from amaranth.hdl import Fragment, Shape
from amaranth.lib import data, wiring

from numerics.formats import Format

#: Codes by the name of their field in a beat, each of shape (groups, beats, lanes of the field).
Operands = dict[str, np.ndarray]
#: Beats of the longer ones among random groups, which come with one seed of so many.
LONG_BEATS, LONG_SEEDS = 8, 32
#: Standard deviation of typical operands over the largest value of their format.
SPREAD = 1 / 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A combinational circuit and what it has to equal for every input."""

    what: str
    circuit: Callable[[], wiring.Component]
    #: With the same ports.
    reference: Callable[[], wiring.Component]
    #: Bits of all inputs.
    input_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingElement(ABC):
    """One PE by name."""

    name: str
    #: Where its arithmetic comes from.
    source: str
    #: Multiply-adds of a beat.
    lanes: int = 1

    @property
    @abstractmethod
    def weight_name(self) -> str:
        """What its weights are."""

    @property
    @abstractmethod
    def activation_name(self) -> str:
        """What its activations are."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Lines for the head of its Verilog: what it computes, in which units."""

    @property
    @abstractmethod
    def meanings(self) -> dict[str, Format | str]:
        """What the fields of a beat and the ``result`` mean: a format, or words."""

    @property
    def cycles(self) -> int:
        """Cycles of a beat."""
        return 1

    @property
    def latency(self) -> int:
        """Cycles from the one that takes the last beat to the one that shows the result."""
        return 1

    @property
    def dots_per_result(self) -> int:
        """Dot products that a random result holds, or sums up."""
        return 1

    @property
    def numbers_per_result(self) -> int:
        """Numbers of a result; together they may be wider than 64 bits."""
        return 1

    @property
    def operand_layout(self) -> data.StructLayout:
        """The fields of a beat, ``last`` among them."""
        return _interface(self)[0]

    @property
    def result_shape(self) -> Shape:
        """Width and sign of a result."""
        return _interface(self)[1]

    @property
    def number_shape(self) -> Shape:
        """Width and sign of a number of a result."""
        return self.result_shape

    @abstractmethod
    def build(self) -> wiring.Component:
        """Return a new component with the two streams."""

    @abstractmethod
    def golden(self, operands: Operands) -> np.ndarray:
        """Return the result of every group as int64, by the model of :mod:`numerics.pe`.

        Its shape is (groups,), or (groups, numbers) if a result has several numbers.
        """

    @abstractmethod
    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of random codes of all kinds."""

    @abstractmethod
    def corners(self) -> Operands:
        """Return the longest groups of extreme codes."""

    @abstractmethod
    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return groups of Gaussian operands, most with the spread :data:`SPREAD`, for energy."""

    @abstractmethod
    def obligations(self) -> tuple[Obligation, ...]:
        """Return its parts that have to be proved."""

    def every_input(self) -> "tuple[ProcessingElement, Operands] | None":
        """Return every input of one lane, as groups of one beat; ``None`` if there are too many."""
        return None


@cache
def _interface(pe: ProcessingElement) -> tuple[data.StructLayout, Shape]:
    """Return the shapes of a PE's two payloads."""
    component = pe.build()
    # Amaranth warns of components that nobody elaborates.
    Fragment.get(component, platform=None)
    layout = component.operands.payload.shape()
    assert isinstance(layout, data.StructLayout)
    return layout, Shape.cast(component.result.payload.shape())


def few_beats(seed: int) -> int:
    """Return the beats of random groups: one for most seeds, 1.5 in the mean.

    New operands find what is wrong with products and scales, and groups of one beat have as many of
    them for their time as any. That sums go on shows in a share of the groups: two beats for one
    seed of eight, three for one of sixteen, eight for one of :data:`LONG_SEEDS`, after which it all
    comes again. The largest sums are among the corners.

    >>> [few_beats(seed) for seed in (0, 1, 2, 3, 4, 9, 18, 32)]
    [8, 2, 3, 1, 1, 2, 3, 8]
    >>> sum(map(few_beats, range(LONG_SEEDS))) / LONG_SEEDS
    1.46875
    """
    if seed % LONG_SEEDS == 0:
        return LONG_BEATS
    if seed % 16 == 2:
        return 3
    return 2 if seed % 8 == 1 else 1


def random_codes(random: np.random.Generator, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform codes of up to 16 bits, several from each word that is drawn."""
    dtype, size = np.dtype(np.uint8 if bits <= 8 else np.uint16), prod(shape)
    words = random.integers(0, 1 << 64, -(-size * dtype.itemsize // 8), np.uint64)
    codes: np.ndarray = words.view(dtype)[:size].reshape(shape)
    codes &= dtype.type((1 << bits) - 1)
    return codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the codes of a field go in the words of a beat."""

    name: str
    lanes: int
    #: The first bit of the first lane, and the bits of each.
    start: int
    width: int

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The least unsigned type that holds a code."""
        return np.min_scalar_type((1 << self.width) - 1)


def beat_places(layout: data.StructLayout) -> list[Place]:
    """Return the places of the fields of a beat, in their order."""
    places = []
    for name, field in layout:
        shape = field.shape
        width, lanes = (
            (Shape.cast(shape.elem_shape).width, shape.length)
            if isinstance(shape, data.ArrayLayout)
            else (Shape.cast(shape).width, 1)
        )
        places.append(Place(name=str(name), lanes=lanes, start=field.offset, width=width))
    return places


def beat_codes(layout: data.StructLayout, operands: Operands) -> list[np.ndarray]:
    """Return the codes of each place of the beats of all groups, one after the other.

    Each has the shape (beats, lanes) and the type of its place; ``last`` is among them.

    Raises
    ------
    ValueError
        The codes are not those of the layout's fields.
    """
    places = beat_places(layout)
    names = [place.name for place in places if place.name != "last"]
    if sorted(names) != sorted(operands):
        raise ValueError(f"a beat has the fields {', '.join(names)}, not {', '.join(operands)}")
    groups, beats, _ = operands[names[0]].shape
    last = np.zeros((groups, beats, 1), np.uint8)
    last[:, -1] = 1
    found = []
    for place in places:
        codes = last if place.name == "last" else operands[place.name]
        if codes.shape != (groups, beats, place.lanes):
            raise ValueError(
                f"{place.name} has shape {codes.shape}, "
                f"not {groups} groups x {beats} beats x {place.lanes}"
            )
        found.append(np.ascontiguousarray(codes, place.dtype).reshape(-1, place.lanes))
    return found


def pack_beats(layout: data.StructLayout, operands: Operands) -> np.ndarray:
    """Return the operand words of every beat, shape (beats, words), 32 bits each."""
    rows = beat_codes(layout, operands)
    words = np.zeros((len(rows[0]), -(-layout.size // 32)), np.uint32)
    for place, of_place in zip(beat_places(layout), rows, strict=True):
        for lane, codes in enumerate(of_place.T):
            _put(words, codes, place.start + lane * place.width, place.width)
    return words


def _put(words: np.ndarray, codes: np.ndarray, start: int, width: int) -> None:
    """Put codes of up to 32 bits into words from a bit on."""
    assert width <= 32
    word, offset = divmod(start, 32)
    wide = (codes.astype(np.uint64) & np.uint64((1 << width) - 1)) << np.uint64(offset)
    words[:, word] |= wide.astype(np.uint32)
    if offset + width > 32:
        words[:, word + 1] |= (wide >> np.uint64(32)).astype(np.uint32)
