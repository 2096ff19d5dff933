"""Catalog entries of the mixture schemes: name, scheme, source."""

from numerics.formats import IntFormat, TableFormat, float_format
from numerics.formats import constants as c
from numerics.mixtures.bitmod_half import BitModHalf
from numerics.mixtures.bitmod_scaled import BitModScaled
from numerics.mixtures.grouped import Grouped
from numerics.mixtures.olive import Normal, Olive
from numerics.mixtures.searched import Searched
from numerics.schemes.scheme import Scheme

_ANT = "ANT, arXiv:2208.14286, and its code: a type for the tensor, alpha searched for rows"
_MIXED_ANT = "the code of BitMoD, arXiv:2411.11745, mixed_ant: integers or flint by groups"
_INT3, _INT4 = (IntFormat(name=f"int{bits}", bits=bits) for bits in (3, 4))
_LLM_FP4 = "LLM-FP4, arXiv:2310.16836, section 3, by the error of weights alone"
#: Clip factors on a row's largest magnitude that ANT's code tries.
_ANT_TRIALS = tuple(percent / 100 for percent in range(75, 150))
#: Clip factors of LLM-FP4: exponent bias shifted by -1 to 2 in steps of 1/32, largest scale first.
_LLM_FP4_TRIALS = tuple(2.0 ** (1 - step / 32) for step in range(97))
_BITMOD = "BitMoD, arXiv:2411.11745, as its code computes in FP16"
_BITMOD_SCALES = "BitMoD, arXiv:2411.11745, section III-C, as its first code computes in FP16"
_OLIVE = "OliVe, arXiv:2304.07493, and its code: outliers with victims, alpha searched for rows"
_BITMOD_HARDWARE = "BitMoD, arXiv:2411.11745, sections III-C and IV: one scale of the row"
#: Exponent bits of LLM-FP4's candidates by the bits of a weight; all have an exponent, and those of
#: 8 bits at least two mantissa bits.
_LLM_FP_EXPONENTS = {6: (5, 4, 3, 2, 1), 8: (5, 4, 3, 2, 1)}
_LLM_FP = {4: (c.E3M0, c.E2M1, c.E1M2)} | {
    bits: tuple(float_format(exponent, bits - 1 - exponent) for exponent in exponents)
    for bits, exponents in _LLM_FP_EXPONENTS.items()
}


def _ant_int(bits: int) -> TableFormat:
    """Return ANT's integers: ties round up; the range is that of two's complement."""
    half = 2 ** (bits - 1)
    table = tuple(float(value) for value in range(-half, half))
    return TableFormat(name=f"ant_int{bits}", table=table, ties_up=(True,) * (2 * half - 1))


#: Scheme and source by catalog name.
ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        *((BitModHalf(weight_bits=bits), _BITMOD) for bits in (3, 4)),
        *((BitModHalf(weight_bits=bits, scale_bits=8), _BITMOD_SCALES) for bits in (3, 4)),
        (Searched(label="ant3", candidates=(_ant_int(3), c.FLINT3), trials=_ANT_TRIALS), _ANT),
        (
            Searched(label="ant4", candidates=(_ant_int(4), c.POT4, c.FLINT4), trials=_ANT_TRIALS),
            _ANT,
        ),
        (
            Searched(label="ant5", candidates=(_ant_int(5), c.POT5, c.FLINT5), trials=_ANT_TRIALS),
            _ANT,
        ),
        *((BitModScaled(weight_bits=bits), _BITMOD_HARDWARE) for bits in (3, 4)),
        (Grouped(label="ant3-mixed", candidates=(_INT3, c.E2M0)), _MIXED_ANT),
        (Grouped(label="ant4-mixed", candidates=(_INT4, c.FLINT4)), _MIXED_ANT),
        *((Olive(bits=bits, normal=kind), _OLIVE) for bits in (3, 4, 5) for kind in Normal),
        *(
            (Searched(label=f"llm-fp{bits}", candidates=found, trials=_LLM_FP4_TRIALS), _LLM_FP4)
            for bits, found in _LLM_FP.items()
        ),
    )
}
