"""Families: schemes of one kind whose names contain their parameters, such as ``aqlm-2x12``.

A scheme lists its families as ``families``; :mod:`numerics.names.families` collects them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numerics.formats import Format

if TYPE_CHECKING:
    from numerics.schemes.scheme import Scheme

#: Function that returns the element format of a name, ``None`` if there is none.
Find = Callable[[str], Format | None]
#: Pattern of a whole number of few digits.
NUMBER = r"(\d{1,5})"
#: Pattern of a percentage below 100.
PERCENT = r"(\d{1,2}(?:\.\d{1,4})?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Schemes of one kind, by the spelling of their names."""

    #: Spelling shown to users.
    form: str
    #: Regular expression of the whole name.
    pattern: str
    #: Function that makes the scheme from the match; raises :class:`ValueError` for parameters out
    #: of range.
    make: Callable[[re.Match[str], Find], "Scheme"]
    #: Catalog name of a member, whose source holds for the whole family.
    like: str


def element_of(text: str, find: Find) -> Format:
    """Return the element format in a name of a family, such as ``int4`` in ``int4-lorc8``."""
    element = find(text)
    if element is None:
        raise ValueError(f"'{text}' is not an element format, such as int4, fp4 or nf3")
    return element
