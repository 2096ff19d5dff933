"""PEs with FP16 activations whose sums round."""

from numerics.catalog import FORMATS, SCHEMES
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import AlignedDot, Rounding
from numerics.pe.running import RunningDot
from numerics.pe.terms import BoothTerms, WindowTerms
from rtl.aligned_pe import SOURCE, AlignedPe, aligned_pe
from rtl.column_pe import ColumnPe
from rtl.dequantizer_pe import DequantizerPe
from rtl.element import ProcessingElement
from rtl.fp16_pe import Fp16MacPe
from rtl.running_pe import RunningPe


def _bitmod_floats(bits: int, name: str, rounding: Rounding = "truncate") -> AlignedPe:
    """Return BitMoD's PE for its floating-point weights with special values."""
    scheme = f"bitmod-fp{bits}"
    weights = SelectedFormat(name=scheme, candidates=SCHEMES[scheme].formats)
    return aligned_pe(name, AlignedDot(generator=WindowTerms(weights), rounding=rounding))


def _bitmod_integers(bits: int) -> AlignedPe:
    """Return BitMoD's PE for integer weights."""
    generator = BoothTerms(FORMATS[f"int{bits}"])
    return aligned_pe(f"bitmod-int{bits}-aligned", AlignedDot(generator=generator))


_FP4 = _bitmod_floats(4, "bitmod-fp4-aligned").model
FLOAT_PES: tuple[ProcessingElement, ...] = (
    Fp16MacPe(name="fp16-mac", source="baseline: FP16 multiplier, FP32 adder"),
    RunningPe(
        name="mixpe-w4a16-running",
        source="MixPE, arXiv:2411.16158, a short accumulator",
        model=RunningDot(weights=FORMATS["int4"]),
    ),
    _bitmod_floats(4, "bitmod-fp4-aligned"),
    _bitmod_floats(4, "bitmod-fp4-nearest", "nearest"),
    _bitmod_floats(3, "bitmod-fp3-aligned"),
    *(_bitmod_integers(bits) for bits in (8, 6, 5, 4)),
    ColumnPe(name="bitmod-fp4-column", source=SOURCE, model=_FP4, lanes=_FP4.lanes),
    DequantizerPe(name="bitmod-dequantizer", source=SOURCE, model=_FP4),
)
