"""The schemes of structures by name, each with its source."""

from numerics.formats import E2M1, IntFormat
from numerics.scheme import Scheme
from numerics.structures.sparse import Sparse

_SPARSE = "2:4 by magnitude, arXiv:2104.08378, sections 3 and 4.1"

#: Scheme and source by the names of the catalog.
ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        (Sparse(keep=2, block=4, element=IntFormat(name="int4", bits=4)), _SPARSE),
        (Sparse(keep=2, block=4, element=IntFormat(name="int8", bits=8)), _SPARSE),
        (Sparse(keep=2, block=4, element=E2M1), _SPARSE),
    )
}
