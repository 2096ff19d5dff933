"""PEs whose beats have more than weights and activations, or codes of several weights."""

from numerics.names.catalog import FORMATS
from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import BlockShifted
from rtl.arithmetic.products import FloatProduct, Multiplier, ShiftAdd
from rtl.element import ProcessingElement
from rtl.pe.bit_planes.element import BitPlanesPe
from rtl.pe.block_dot.element import BlockDotPe
from rtl.pe.codebook.element import AdditivePe, ColumnBooksPe
from rtl.pe.column_signs.element import ColumnSignsPe
from rtl.pe.e8p.element import E8pPe
from rtl.pe.lookup.element import LookupPe
from rtl.pe.zero_point.element import ZeroPointPe

_MIXPE = "MixPE, arXiv:2411.16158"
_BITNET_CPP = "bitnet.cpp, arXiv:2502.11880, section 3"


def _mixpe(name: str, model: BlockScaled | BlockShifted, length: int) -> BlockDotPe:
    """Return a dot product with scales after groups of 128."""
    source = f"{_MIXPE}, scales after the group"
    return BlockDotPe(
        name=name, source=source, model=model, product=ShiftAdd, lanes=16, length=length
    )


_INT4, _INT8, _FP4, _E4M3 = (FORMATS[name] for name in ("int4", "int8", "fp4_e2m1", "fp8_e4m3"))
_BLOCKS = (
    BlockDotPe(
        name="nvfp4-dot",
        source="NVFP4 without its FP32 scales, exact sum",
        model=BlockScaled(weights=_FP4, activations=_FP4, scales=(_E4M3, _E4M3), block=16),
        product=FloatProduct,
        lanes=16,
        length=128,
    ),
    BlockDotPe(
        name="mxfp4-dot",
        source="OCP MX v1.0, MXFP4, exact in a window of 32 scales",
        model=BlockShifted(weights=_FP4, activations=_FP4, scales=2, block=32),
        product=FloatProduct,
        lanes=16,
        length=128,
    ),
    _mixpe(
        "mixpe-w4a8-fp16",
        BlockScaled(weights=_INT4, activations=_INT8, scales=(FORMATS["fp16"],), block=128),
        512,
    ),
    _mixpe(
        "mixpe-w4a8-int8",
        BlockScaled(weights=_INT4, activations=_INT8, scales=(_INT8,), block=128),
        4096,
    ),
    _mixpe(
        "mixpe-w4a8-shift",
        BlockShifted(weights=_INT4, activations=_INT8, scales=1, block=128),
        512,
    ),
)

INTEGER_PES: tuple[ProcessingElement, ...] = (
    *_BLOCKS,
    ZeroPointPe(
        name="mixpe-w4a8-zero",
        source=f"{_MIXPE}, zero points off after the group",
        weights=FORMATS["uint4"],
        activations=FORMATS["int8"],
        product=ShiftAdd,
        columns=2,
        lanes=8,
    ),
    ColumnSignsPe(
        name="binary-columns",
        source="FBI-LLM, arXiv:2407.07093, section 3.1, scales and offsets in 8 bits",
        product=Multiplier,
        columns=2,
        lanes=16,
    ),
    LookupPe(name="tl1-lookup", source=_BITNET_CPP, size=2, lanes=12),
    LookupPe(name="tl2-lookup", source=_BITNET_CPP, size=3, lanes=18),
    E8pPe(name="e8p-dot", source="QuIP#, arXiv:2402.04396, section 4", lanes=8),
    AdditivePe(name="aqlm-2x4", source="AQLM, arXiv:2401.06118, section 3", books=2, code_bits=4),
    AdditivePe(name="aqlm-2x8", source="AQLM, arXiv:2401.06118, section 3", books=2, code_bits=8),
    ColumnBooksPe(
        name="vptq-2x4",
        source="VPTQ, arXiv:2409.17066, section 3",
        books=2,
        code_bits=4,
        rows=2,
        columns=4,
        lanes=8,
    ),
    BitPlanesPe(name="nested-planes", source="Any-Precision LLM, arXiv:2402.10517", lanes=16),
)
