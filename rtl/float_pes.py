"""PEs with FP16 activations whose sums round."""

from numerics.names.catalog import FORMATS
from numerics.pe.models import ALIGNED
from numerics.pe.running import RunningDot
from rtl.element import ProcessingElement
from rtl.pe.aligned.element import SOURCE, aligned_pe
from rtl.pe.column.element import ColumnPe
from rtl.pe.dequantizer.element import DequantizerPe
from rtl.pe.fp16_mac.element import Fp16MacPe
from rtl.pe.running.element import RunningPe
from rtl.pe.special.element import SpecialPe

_FP4 = ALIGNED["bitmod-fp4-aligned"]
FLOAT_PES: tuple[ProcessingElement, ...] = (
    Fp16MacPe(name="fp16-mac", source="baseline: FP16 multiplier, FP32 adder"),
    RunningPe(
        name="mixpe-w4a16-running",
        source="MixPE, arXiv:2411.16158, a short accumulator",
        model=RunningDot(weights=FORMATS["int4"]),
    ),
    *(aligned_pe(name, model) for name, model in ALIGNED.items()),
    SpecialPe(name="bitmod-fp4-special", source=SOURCE, base=FORMATS["fp4_e2m1"], lanes=4),
    ColumnPe(name="bitmod-fp4-column", source=SOURCE, model=_FP4, lanes=_FP4.lanes),
    DequantizerPe(name="bitmod-dequantizer", source=SOURCE, model=_FP4),
)
