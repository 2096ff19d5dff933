"""The rounder of each kind of scheme."""

from numerics.schemes.element import ElementScheme
from numerics.schemes.scheme import Scheme
from numerics.solvers.contract import Rounder
from numerics.solvers.element_rounder import ElementRounder
from numerics.solvers.table_rounder import TableRounder
from numerics.solvers.tables import code_count


def rounder_of(scheme: Scheme, shape: tuple[int, ...]) -> Rounder:
    """Return the rounder of a scheme for matrices of a shape.

    Raises
    ------
    ValueError
        The scheme doesn't have one code per value.
    """
    if isinstance(scheme, ElementScheme):
        return ElementRounder(scheme)
    if code_count(scheme, shape) is None:
        raise ValueError(
            f"{scheme.name} doesn't have one code per value, which column solvers need; "
            "use an element format, a mixture or a table"
        )
    return TableRounder(scheme)
