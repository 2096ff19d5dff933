"""Catalog entries of the structured schemes: name, scheme, source."""

from numerics.formats import E2M1, NF3, IntFormat
from numerics.schemes.scheme import Scheme
from numerics.structures.any_precision import (
    PARENT_BITS,
    SEED_BITS,
    AllPrecisions,
    AnyPrecision,
)
from numerics.structures.low_rank import LowRank
from numerics.structures.sparse import Sparse
from numerics.structures.spqr import SpQR
from numerics.structures.top_k import TopK

_SPARSE = "2:4 by magnitude, arXiv:2104.08378, sections 3 and 4.1"
_TOP_K = "Q-Sparse, arXiv:2407.10969, section 2.2, near the inference-optimal shares"
_ANY_PRECISION = "Any-Precision LLM, arXiv:2402.10517, section 3.2, with equal weights"
_SPQR = "SpQR, arXiv:2306.03078, section 4, without calibration"
_LORC = "LoRC, arXiv:2303.08302 and arXiv:2307.09782, factors in FP16"
_LQ = "LQ-LoRA, arXiv:2311.12023, section 3.1, FP16 scales of groups"
_INT4 = IntFormat(name="int4", bits=4)
_INT8 = IntFormat(name="int8", bits=8)

#: Scheme and source by catalog name.
ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        (Sparse(keep=2, block=4, element=_INT4), _SPARSE),
        (Sparse(keep=2, block=4, element=_INT8), _SPARSE),
        (Sparse(keep=2, block=4, element=E2M1), _SPARSE),
        (TopK(percent=54, element=_INT8), _TOP_K),
        (TopK(percent=39, element=_INT8), _TOP_K),
        (LowRank(element=E2M1, rank=8), _LORC),
        (LowRank(element=_INT4, rank=8), _LORC),
        (LowRank(element=NF3, rank=64, rounds=5), _LQ),
        (SpQR(bits=3), _SPQR),
        (SpQR(bits=3, outliers=0.01), _SPQR),
        (SpQR(bits=4, outliers=0.01), _SPQR),
        (AllPrecisions(), _ANY_PRECISION),
        *((AnyPrecision(bits=bits), _ANY_PRECISION) for bits in range(SEED_BITS, PARENT_BITS + 1)),
    )
}
