"""The PEs whose sums round, as models of their arithmetic, by name."""

from numerics.formats import E2M1
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.selected import SelectedFormat
from numerics.names.catalog import FORMATS, SCHEMES
from numerics.pe.aligned import AlignedDot, Rounding
from numerics.pe.dequantizer import ColumnDot
from numerics.pe.fp16_mac import Fp16Dot
from numerics.pe.rounding import RoundingPe
from numerics.pe.running import RunningDot
from numerics.pe.special import SpecialDot
from numerics.pe.terms import BoothTerms, WindowTerms


def _bitmod_floats(bits: int, rounding: Rounding = "truncate") -> AlignedDot:
    """Return BitMoD's PE for its floating-point weights with special values."""
    scheme = SCHEMES[f"bitmod-fp{bits}"]
    assert isinstance(scheme, BitMod)
    weights = SelectedFormat(name=scheme.name, candidates=scheme.formats)
    return AlignedDot(generator=WindowTerms(weights), rounding=rounding)


def _bitmod_integers(bits: int) -> AlignedDot:
    """Return BitMoD's PE for integer weights."""
    return AlignedDot(generator=BoothTerms(FORMATS[f"int{bits}"]))


ALIGNED = {
    "bitmod-fp4-aligned": _bitmod_floats(4),
    "bitmod-fp4-nearest": _bitmod_floats(4, "nearest"),
    "bitmod-fp3-aligned": _bitmod_floats(3),
    **{f"bitmod-int{bits}-aligned": _bitmod_integers(bits) for bits in (8, 6, 5, 4)},
}

#: All of them, by the names of their circuits.
ROUNDING: dict[str, RoundingPe] = {
    "fp16-mac": Fp16Dot(),
    "mixpe-w4a16-running": RunningDot(weights=FORMATS["int4"]),
    **ALIGNED,
    "bitmod-fp4-special": SpecialDot(base=E2M1),
    "bitmod-fp4-column": ColumnDot(model=ALIGNED["bitmod-fp4-aligned"]),
}
