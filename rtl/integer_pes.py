"""PEs of integers whose beats have more than weights and activations."""

from numerics.catalog import FORMATS
from rtl.bit_planes_pe import BitPlanesPe
from rtl.e8p_pe import E8pPe
from rtl.element import ProcessingElement
from rtl.lookup_pe import LookupPe
from rtl.products import ShiftAdd
from rtl.zero_point_pe import ZeroPointPe

_MIXPE = "MixPE, arXiv:2411.16158"
_BITNET_CPP = "bitnet.cpp, arXiv:2502.11880, section 3"

INTEGER_PES: tuple[ProcessingElement, ...] = (
    ZeroPointPe(
        name="mixpe-w4a8-zero",
        source=f"{_MIXPE}, zero points off after the group",
        weights=FORMATS["uint4"],
        activations=FORMATS["int8"],
        product=ShiftAdd,
        columns=2,
        lanes=8,
    ),
    LookupPe(name="tl1-lookup", source=_BITNET_CPP, size=2, lanes=16),
    LookupPe(name="tl2-lookup", source=_BITNET_CPP, size=3, lanes=24),
    E8pPe(name="e8p-dot", source="QuIP#, arXiv:2402.04396, section 4", lanes=8),
    BitPlanesPe(name="nested-planes", source="Any-Precision LLM, arXiv:2402.10517", lanes=16),
)
