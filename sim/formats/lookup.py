"""Find formats and schemes by the names that a user types."""

import math

from numerics import CATALOG, FORMATS
from numerics.formats import MAX_LISTED_BITS, Format
from numerics.schemes.scheme import Scheme
from sim.errors import UserError
from sim.names.meaning import find_meaning


def find_scheme(name: str) -> Scheme:
    """Return the weight scheme of a name; raise :class:`UserError` if it has none."""
    weights = find_meaning(name).weights
    if not isinstance(weights, Scheme):
        what = "float32" if weights is None else f"a mix of several: {weights.about}"
        raise UserError(f"'{name}' is not a single format: it is {what}")
    return weights


def is_format(name: str) -> bool:
    """Return whether a text names a format."""
    try:
        find_meaning(name)
    except UserError:
        return False
    return True


def find_formats(name: str) -> tuple[Format, ...]:
    """Return the element formats of a name: one, or the candidates of a mixture."""
    plain = FORMATS.get(name.strip().lower())
    if plain is not None and name.strip().lower() not in CATALOG:
        return (plain,)
    formats = find_scheme(name).formats
    if not formats:
        raise UserError(
            f"rounding in '{name}' depends on the other numbers of a group; give several, as in "
            f"'qsim formats explain {name} 4.25 -3 0.7 6', or see 'qsim formats show {name}'"
        )
    return formats


def find_definition(name: str) -> Scheme | None:
    """Return the scheme of a name; ``None`` if the name is that of an element format."""
    head = name.strip().lower()
    return None if head in FORMATS and head not in CATALOG else find_scheme(name)


def grid(fmt: Format) -> tuple[float, ...]:
    """Return the finite values that rounding can give, in increasing order, each once.

    Examples
    --------
    >>> from numerics.formats import TERNARY
    >>> grid(TERNARY)
    (-1.0, 0.0, 1.0)
    """
    if fmt.bits > MAX_LISTED_BITS:
        raise UserError(f"'{fmt.name}' has 2^{fmt.bits} codes, too many to list")
    finite = (value for value in fmt.values if math.isfinite(value))
    return tuple(sorted({fmt.round(value) + 0.0 for value in finite}))
