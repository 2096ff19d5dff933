"""Schemes whose names say their numbers: ``kmeans5``, ``aqlm-2x12``, ``bitmod-fp4-+5-7``."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from numerics.codebooks.additive import Additive
from numerics.codebooks.kmeans import KMeans
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.conventions.dint import Dint, Kind
from numerics.conventions.integers import GROUPS, Convention, IntegerScheme
from numerics.conventions.lq_double import (
    DEFAULT_SCALE_BITS,
    DEFAULT_SUPER_BLOCK,
    SECOND,
    LqDouble,
)
from numerics.conventions.vs_quant import DEFAULT_SCALE_BITS as VS_SCALE_BITS
from numerics.conventions.vs_quant import VsQuant
from numerics.formats import FP16, FP32, Format
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.bitmod_half import BitModHalf
from numerics.schemes.scheme import Scheme
from numerics.structures.low_rank import LowRank
from numerics.structures.sparse import Sparse
from numerics.structures.spqr import SpQR
from numerics.structures.top_k import TopK

Find = Callable[[str], Format | None]
#: A number with a digit or more, short enough to be cheap.
_N = r"(\d{1,5})"
_SHARE = r"(\d{1,2}(?:\.\d{1,4})?)"
_SPECIALS = r"((?:[+-]\d{1,3}(?:\.\d{1,3})?){1,4})"
_CONVENTIONS = "|".join(sorted(Convention, key=len, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Schemes of one kind."""

    #: How a name is spelled.
    form: str
    #: What a whole name matches.
    pattern: str
    make: Callable[[re.Match[str], Find], Scheme]
    #: A member of the catalog, whose source is that of all.
    like: str


def _bits(n: int) -> int:
    """Return the bits of a code of so many entries."""
    if n & (n - 1) or n < 2:
        raise ValueError(f"a codebook has a power of two of entries, such as 256, not {n}")
    return n.bit_length() - 1


def _element(text: str, find: Find) -> Format:
    element = find(text)
    if element is None:
        raise ValueError(f"'{text}' is no format of elements, such as int4, fp4 or nf3")
    return element


def _integers(m: re.Match[str], _: Find) -> Scheme:
    convention = Convention(m[2])
    return IntegerScheme(bits=int(m[1]), convention=convention, size=GROUPS.get(convention))


def _lq_double(m: re.Match[str], _: Find) -> Scheme:
    return LqDouble(
        bits=int(m[1]),
        scale_bits=int(m[2] or DEFAULT_SCALE_BITS),
        second=SECOND[m[3] or "fp32"],
        super_block=int(m[4] or DEFAULT_SUPER_BLOCK),
    )


def _vptq(m: re.Match[str], _: Find) -> Scheme:
    main = Codebook(length=int(m[1]), bits=_bits(int(m[2])))
    residual = _bits(int(m[3])) if int(m[3]) else 0
    if m[4] is None:
        return Vptq(main=main, residual_bits=residual)
    outlier = Codebook(length=int(m[5]), bits=_bits(int(m[6])))
    share = float(m[4]) / 100
    return Vptq(main=main, residual_bits=residual, outlier_codebook=outlier, outliers=share)


def _spqr(m: re.Match[str], _: Find) -> Scheme:
    second = FP32 if m[4] else FP16
    return SpQR(bits=int(m[1]), outliers=float(m[2] or 0) / 100, adds=bool(m[3]), second=second)


def _bitmod(m: re.Match[str], _: Find) -> Scheme:
    specials = tuple(map(float, re.findall(r"[+-][\d.]+", m[2])))
    return BitMod(weight_bits=int(m[1]), specials=specials)


FAMILIES = (
    Family(
        form="int<bits>-<convention>",
        pattern=rf"int{_N}-({_CONVENTIONS})",
        make=_integers,
        like="int4-awq",
    ),
    Family(
        form="int<bits>-vs[-s<scale bits>]",
        pattern=rf"int{_N}-vs(?:-s{_N})?",
        make=lambda m, _: VsQuant(bits=int(m[1]), scale_bits=int(m[2] or VS_SCALE_BITS)),
        like="int4-vs",
    ),
    Family(
        form="nf<bits>-lqdq[-s<scale bits>][-<fp16|bf16>][-b<scales>]",
        pattern=rf"nf{_N}-lqdq(?:-s{_N})?(?:-(fp32|fp16|bf16))?(?:-b{_N})?",
        make=_lq_double,
        like="nf4-lqdq",
    ),
    Family(
        form="dint<bits>-<f|a>",
        pattern=rf"dint{_N}-([fa])",
        make=lambda m, _: Dint(bits=int(m[1]), kind=Kind(m[2])),
        like="dint4-f",
    ),
    Family(
        form="bitmod-fp<3|4><+-special values>",
        pattern=rf"bitmod-fp{_N}-?{_SPECIALS}",
        make=_bitmod,
        like="bitmod-fp4",
    ),
    Family(
        form="bitmod-fp<3|4>-s<scale bits>-ref",
        pattern=rf"bitmod-fp{_N}-s{_N}-ref",
        make=lambda m, _: BitModHalf(weight_bits=int(m[1]), scale_bits=int(m[2])),
        like="bitmod-fp4-s8-ref",
    ),
    Family(
        form="kmeans<bits>",
        pattern=rf"kmeans{_N}",
        make=lambda m, _: KMeans(code_bits=int(m[1])),
        like="kmeans4",
    ),
    Family(
        form="aqlm-<codebooks>x<bits>",
        pattern=rf"aqlm-{_N}x{_N}",
        make=lambda m, _: Additive(codebooks=int(m[1]), code_bits=int(m[2])),
        like="aqlm-2x8",
    ),
    Family(
        form="vptq-v<length>-k<entries>-<entries>[-o<percent>-v<length>-k<entries>]",
        pattern=rf"vptq-v{_N}-k{_N}-{_N}(?:-o{_SHARE}-v{_N}-k{_N})?",
        make=_vptq,
        like="vptq-v8-k256-256",
    ),
    Family(
        form="spqr-<bits>[-o<percent>][-add][-fp32]",
        pattern=rf"spqr-{_N}(?:-o{_SHARE})?(-add)?(-fp32)?",
        make=_spqr,
        like="spqr-3",
    ),
    Family(
        form="<element>-<keep>-of-<block>",
        pattern=rf"(.+)-{_N}-of-{_N}",
        make=lambda m, find: Sparse(keep=int(m[2]), block=int(m[3]), element=_element(m[1], find)),
        like="int4-2-of-4",
    ),
    Family(
        form="<element>-top<percent>",
        pattern=rf"(.+)-top{_N}",
        make=lambda m, find: TopK(percent=int(m[2]), element=_element(m[1], find)),
        like="int8-top54",
    ),
    Family(
        form="<element>-lorc<rank>",
        pattern=rf"(.+)-lorc{_N}",
        make=lambda m, find: LowRank(element=_element(m[1], find), rank=int(m[2])),
        like="int4-lorc8",
    ),
    Family(
        form="<element>-lq<rounds>x<rank>",
        pattern=rf"(.+)-lq{_N}x{_N}",
        make=lambda m, find: LowRank(
            element=_element(m[1], find), rounds=int(m[2]), rank=int(m[3])
        ),
        like="nf3-lq5x64",
    ),
)


def find_member(name: str, find: Find) -> tuple[Scheme, Family] | None:
    """Return the scheme of a name and its family, ``None`` if no family spells names so.

    ``find`` returns the format of an element by its name. Raises :class:`ValueError` for numbers
    that the family doesn't have.

    >>> find_member("aqlm-2x12", lambda name: None)[0].name, find_member("int4", lambda name: None)
    ('aqlm-2x12', None)
    """
    for family in FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            return family.make(match, find), family
    return None
