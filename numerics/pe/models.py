"""Models of BitMoD's PEs with aligned sums, by weight format."""

from numerics.formats import FORMATS
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.selected import SelectedFormat
from numerics.names.catalog import SCHEMES
from numerics.pe.aligned import AlignedDot, Rounding
from numerics.pe.terms import BoothTerms, WindowTerms


def bitmod_floats(bits: int, rounding: Rounding = "truncate") -> AlignedDot:
    """Return BitMoD's PE for floating-point weights with special values."""
    scheme = SCHEMES[f"bitmod-fp{bits}"]
    assert isinstance(scheme, BitMod)
    weights = SelectedFormat(name=scheme.name, candidates=scheme.formats)
    return AlignedDot(generator=WindowTerms(weights), rounding=rounding)


def bitmod_integers(bits: int) -> AlignedDot:
    """Return BitMoD's PE for integer weights."""
    return AlignedDot(generator=BoothTerms(FORMATS[f"int{bits}"]))
