"""Schemes whose names contain their parameters: ``kmeans5``, ``aqlm-2x12``, ``bitmod-fp4-+5-7``."""

import re

from numerics.names.catalog import SCHEMES
from numerics.schemes.family import Family, Find
from numerics.schemes.scheme import Scheme

#: The families of all named schemes, in the order of the catalog.
FAMILIES: tuple[Family, ...] = tuple(
    family
    for kind in dict.fromkeys(type(scheme) for scheme in SCHEMES.values())
    for family in kind.families
)


def find_member(name: str, find: Find) -> tuple[Scheme, Family] | None:
    """Return the scheme of a name and its family, ``None`` if the name fits no family.

    ``find`` returns the element format of a name. Raises :class:`ValueError` for parameters that
    the family does not have.

    >>> find_member("aqlm-2x12", lambda name: None)[0].name, find_member("int4", lambda name: None)
    ('aqlm-2x12', None)
    """
    for family in FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family.make(match, find), family
    return None
