"""Schemes whose names contain their parameters."""

import numpy as np
import pytest

from numerics import CATALOG, parse_scheme, quantize
from numerics.names.families import FAMILIES, find_member

#: Names that the catalog does not list, with their canonical names.
NAMES = {
    "int3-awq": "int3-awq", "int3-gptq-sym": "int3-gptq-sym", "int2-vs:g32": "int2-vs:g32",
    "dint5-f": "dint5-f", "bitmod-fp4+5-7:g64": "bitmod-fp4-+5-7:g64",
    "bitmod-fp3-+3-3+5-5": "bitmod-fp3-+3-3+5-5", "bitmod-fp3-s4-ref": "bitmod-fp3-s4-ref",
    "kmeans2": "kmeans2", "aqlm-2x5": "aqlm-2x5", "vptq-v4-k16-8": "vptq-v4-k16-8",
    "vptq-v6-k64-0-o0.5-v4-k16": "vptq-v6-k64-0-o0.5-v4-k16", "spqr-4": "spqr-4",
    "spqr-3-o1-add": "spqr-3-o1-add", "spqr-2-fp32": "spqr-2-fp32",
    "int8-4-of-8": "int8-4-of-8", "fp8_e4m3-top40": "fp8_e4m3-top40",
    "fp4-lorc16": "fp4_e2m1-lorc16", "nf4-lq2x8": "nf4-lq2x8",
}  # fmt: skip


#: Names whose schemes are compiled by default; the others differ in numbers only.
FEW = ("int3-awq", "bitmod-fp4+5-7:g64", "kmeans2", "nf4-lq2x8")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in FEW)) for n in NAMES]
)
def test_a_name_makes_a_scheme_that_its_own_name_makes_again(name):
    scheme = parse_scheme(name)
    assert scheme.name == NAMES[name] and parse_scheme(scheme.name) == scheme
    x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    q = quantize(x, scheme)
    error = np.asarray(q.dequantize()) - x
    assert {field.name for field in scheme.layout(x.shape)} == set(q.arrays)
    assert (error**2).mean() < 0.6


def test_every_family_has_the_member_whose_source_it_takes():
    assert len({family.like for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        found = find_member(family.like, lambda name: CATALOG[name].scheme.element)
        if found is not None:
            assert found[0] == CATALOG[family.like].scheme


@pytest.mark.parametrize(
    ("name", "message"),
    {
        "int9-awq": "integer conventions have 2 to 8 bits, not 9",
        "vptq-v8-k100-0": "the entries of a codebook are a power of two such as 256, not 100",
        "bitmod-fp4-+5.3": "a special value is a multiple of 0.5 up to 64 and not 0, not 5.3",
        "bitmod-fp3-+0": "a special value is a multiple of 1 up to 64 and not 0, not 0",
        "nofloat-lorc8": "'nofloat' is not an element format, such as int4, fp4 or nf3",
        "aqlm-9x8": "AQLM has 1 to 8 codebooks with codes of 1 to 16 bits, not 9 of 8",
        "spqr-3:g32": "spqr-3 is defined with blocks of 16, not 32",
    }.items(),
)
def test_numbers_that_a_family_lacks_are_refused(name, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(") + "$"):
        parse_scheme(name)
