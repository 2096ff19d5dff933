"""PEs whose sums round, and the quantized matrices that each supports."""

from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.bitmod_scaled import BitModScaled
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_limits import check_bits
from numerics.pe.dequantizer import ColumnDot
from numerics.pe.fp16_mac import Fp16Dot
from numerics.pe.running import RunningDot
from numerics.pe.special import SpecialDot, WindowFormat
from numerics.schemes.element import ElementScheme, ZeroPoint
from numerics.schemes.scheme import Scheme

RoundingPe = AlignedDot | SpecialDot | ColumnDot | RunningDot | Fp16Dot
WINDOWS = WindowFormat()


def check_pe(scheme: Scheme, pe: RoundingPe, length: int) -> None:
    """Raise ValueError if a PE can't read rows of this length in a scheme.

    >>> from numerics import SCHEMES
    >>> from numerics.pe.models import bitmod_floats
    >>> check_pe(SCHEMES["bitmod-fp4"], bitmod_floats(4), 4096)
    """
    if isinstance(pe, Fp16Dot):
        return
    if not _reads(scheme, pe):
        raise ValueError(f"the PE reads {_wanted(pe)}, not {scheme.name}")
    group = group_length(scheme, length)
    if isinstance(pe, RunningDot):
        pe.check(group)
        return
    model = aligned_model(pe)
    model.check(group + -group % model.lanes)
    check_bits(model)


def _reads(scheme: Scheme, pe: AlignedDot | SpecialDot | ColumnDot | RunningDot) -> bool:
    if isinstance(pe, SpecialDot):
        return isinstance(scheme, BitMod) and all(
            fmt.base == pe.base and WINDOWS.round(fmt.special) == fmt.special
            for fmt in scheme.formats
        )
    wanted = pe.weights if isinstance(pe, RunningDot) else aligned_model(pe).generator.weights
    if isinstance(wanted, SelectedFormat):
        kind = BitModScaled if isinstance(pe, ColumnDot) else BitMod
        return isinstance(scheme, kind) and scheme.formats == wanted.candidates
    return isinstance(scheme, ElementScheme) and _is_plain(scheme) and scheme.element == wanted


def _wanted(pe: AlignedDot | SpecialDot | ColumnDot | RunningDot) -> str:
    match pe:
        case SpecialDot():
            return f"codes of {pe.base.name} with a special value, and one scale a group"
        case ColumnDot():
            name = pe.model.generator.weights.name
            return f"codes of {name}, with 8-bit scales of groups and one of the row"
        case RunningDot():
            return f"codes of {pe.weights.name}, with one scale a group"
    return f"codes of {pe.generator.weights.name}, with one scale a group"


def aligned_model(pe: AlignedDot | SpecialDot | ColumnDot) -> AlignedDot:
    """Return the model that computes the group sums of a PE."""
    return pe if isinstance(pe, AlignedDot) else pe.model


def group_length(scheme: Scheme, length: int) -> int:
    """Return the number of values in a full group of rows of this length."""
    return min(scheme.group_size or length, length)


def _is_plain(scheme: ElementScheme) -> bool:
    has_one_scale = not scheme.has_power_of_two_scales and scheme.second_level is None
    return has_one_scale and scheme.zero_point == ZeroPoint.NONE
