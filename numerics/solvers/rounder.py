"""The rounder of each kind of scheme."""

from collections.abc import Callable
from typing import Any

from numerics.codebooks.additive import Additive
from numerics.codebooks.e8p_scheme import E8P
from numerics.codebooks.kmeans import KMeans
from numerics.codebooks.vptq import Vptq
from numerics.gguf.scheme import GgufScheme
from numerics.mixtures.olive import Olive
from numerics.schemes.element import ElementScheme
from numerics.schemes.scheme import Scheme
from numerics.solvers.binary_rounder import BinaryRounder
from numerics.solvers.contract import Rounder
from numerics.solvers.element_rounder import ElementRounder
from numerics.solvers.gguf_rounder import GgufRounder
from numerics.solvers.lookup_rounder import LookupRounder
from numerics.solvers.pair_rounder import PairRounder
from numerics.solvers.sparse_rounder import SparseRounder
from numerics.solvers.table_rounder import TableRounder
from numerics.solvers.tables import code_count
from numerics.solvers.vector_rounder import VectorRounder
from numerics.solvers.vptq_rounder import VptqRounder
from numerics.structures.any_precision import AllPrecisions, AnyPrecision
from numerics.structures.sparse import Sparse
from numerics.structures.top_k import TopK
from numerics.ternary.schemes import ColumnBinary

#: Rounder of each kind of scheme that needs more than a table of the values of its codes.
ROUNDERS: dict[type[Scheme], Callable[[Any], Rounder]] = {
    ElementScheme: ElementRounder,
    KMeans: LookupRounder,
    AnyPrecision: LookupRounder,
    AllPrecisions: LookupRounder,
    GgufScheme: GgufRounder,
    Olive: PairRounder,
    Sparse: SparseRounder,
    Additive: VectorRounder,
    E8P: VectorRounder,
    Vptq: VptqRounder,
    ColumnBinary: BinaryRounder,
}


def rounder_of(scheme: Scheme, shape: tuple[int, ...]) -> Rounder:
    """Return the rounder of a scheme for matrices of a shape.

    Raises
    ------
    ValueError
        The scheme has no rounder of its own and doesn't have one code per value.
    """
    if make := ROUNDERS.get(type(scheme)):
        return make(scheme)
    if isinstance(scheme, TopK):
        raise ValueError(
            f"{scheme.name} chooses the values of each token when the model runs, so a column "
            f"solver has nothing to fix; for weights take {scheme.element.name} or "
            f"{scheme.element.name}-2-of-4"
        )
    if code_count(scheme, shape) is None:
        raise ValueError(
            f"{scheme.name} doesn't have one code per value, which column solvers need; "
            "use an element format, a mixture or a table"
        )
    return TableRounder(scheme)
