"""Packing of operands: codes of a PE's fields as 32-bit words of its beats."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

from rtl.fields import Operands


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Position of a field's codes in the words of a beat."""

    name: str
    lanes: int
    #: Index of the first lane's lowest bit.
    start: int
    #: Bits of one lane's code.
    width: int

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned NumPy type that holds a code."""
        return np.min_scalar_type((1 << self.width) - 1)


def beat_places(layout: data.StructLayout) -> list[Place]:
    """Return the bit positions of the fields of a beat, in the layout's order."""
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
    """Return the codes of each field for the beats of all groups in sequence.

    Each array has the shape (beats, lanes) and the type of its field; ``last`` is among them.

    Raises
    ------
    ValueError
        The operands are not those of the layout's fields.
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
    """Write codes of up to 32 bits into words, from bit ``start``."""
    assert width <= 32
    word, offset = divmod(start, 32)
    wide = (codes.astype(np.uint64) & np.uint64((1 << width) - 1)) << np.uint64(offset)
    words[:, word] |= wide.astype(np.uint32)
    if offset + width > 32:
        words[:, word + 1] |= (wide >> np.uint64(32)).astype(np.uint32)
