"""Schemes: storage, names and invalid combinations."""

import dataclasses

import numpy as np
import pytest

from numerics import (
    FORMATS,
    SCHEMES,
    ElementScheme,
    PerChannel,
    PerGroup,
    PerTensor,
    PerToken,
    ScaleRule,
    ZeroPoint,
    parse_scheme,
)

SHAPE = (48, 576)

# Bits per weight of a (48, 576) matrix, side data included.
STORAGE = [
    ("fp4", 4 + 16 * 5 / 576),
    ("int4:g64", 4 + 16 / 64),
    ("int4-asym:g64", 4 + (16 + 4) / 64),
    ("int4-floatmin", 5.0),
    ("int8:channel:fp32", 8 + 32 / 576),
    ("int8:tensor:fp32", 8 + 32 / (48 * 576)),
    ("mxfp4", 4.25),
    ("mxfp6_e2m3", 6.25),
    ("mxint8", 8.25),
    ("nvfp4", 4.5 + 32 / (48 * 576)),
    ("nf4", 4.5),
    ("ternary:g64", 2.25),
]

ELEMENT_SCHEMES = {n: s for n, s in SCHEMES.items() if isinstance(s, ElementScheme)}


@pytest.mark.parametrize(("text", "expected"), STORAGE)
def test_full_storage_counts_scales_and_zero_points(text, expected):
    scheme = parse_scheme(text)
    assert scheme.bits_per_weight(SHAPE) == pytest.approx(expected, rel=1e-12)
    assert scheme.bits_per_weight(SHAPE, kind="index") == scheme.element.bits


def test_stored_bits_fill_each_array_up_to_bytes():
    scheme = parse_scheme("int3:g4:asym:fp16")
    # 5 values in 2 groups: 15 bits of codes, 32 of scales, 6 of zero points.
    assert scheme.bits_per_weight((1, 5)) == (15 + 32 + 6) / 5
    assert scheme.bits_per_weight((1, 5), kind="stored") == (16 + 32 + 8) / 5


def test_scales_have_the_shape_of_the_groups():
    shapes = {
        "int4:g128": (2, 3, 5),
        "int4:g1000": (2, 3, 1),
        "int4:channel": (2, 3, 1),
        "int4:token": (2, 3, 1),
        "int4:tensor": (1, 1, 1),
    }
    assert {text: parse_scheme(text).scale_shape((2, 3, 576)) for text in shapes} == shapes


def test_group_size_is_that_of_groups_only():
    sizes = {"int4:g64": 64, "int4:channel": None, "int4:tensor": None, "mxfp4": 32}
    assert {text: parse_scheme(text).group_size for text in sizes} == sizes


@pytest.mark.parametrize("scheme", ELEMENT_SCHEMES.values(), ids=ELEMENT_SCHEMES.keys())
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(), PerToken(), PerGroup(24)])
@pytest.mark.parametrize("scale_format", ["fp32", "fp16", "bf16", "fp8_e4m3", "e8m0"])
def test_every_name_parses_back_to_the_same_scheme_in_any_role(scheme, granularity, scale_format):
    changed = {"granularity": granularity, "scale_format": FORMATS[scale_format]}
    if scale_format == "e8m0" and not scheme.has_power_of_two_scales:
        changed["rule"] = ScaleRule.RCEIL
    elif scheme.has_power_of_two_scales and scale_format != "e8m0":
        changed["rule"] = ScaleRule.ABSMAX
    try:
        variant = dataclasses.replace(scheme, **changed)
    except ValueError:
        variant = scheme
    for role in ("weight", "activation", "kv"):
        assert parse_scheme(variant.name, role=role) == variant


def test_names_tell_schemes_apart():
    assert len({scheme.name for scheme in SCHEMES.values()}) == len(SCHEMES)


def test_schemes_are_hashable_and_equal_by_value():
    assert hash(parse_scheme("mxfp4")) == hash(SCHEMES["mxfp4"])
    assert parse_scheme("fp4_e2m1:g128:fp16") == SCHEMES["fp4"]


REFUSED = [
    (
        {"element": FORMATS["fp16"]},
        r"fp16 is a scale format, not an element format",
    ),
    (
        {"scale_format": FORMATS["fp8_e5m2"]},
        r"scales can't be fp8_e5m2; they can be fp32, fp16, bf16, e4m3, e8m0",
    ),
    (
        {"rule": ScaleRule.FLOOR},
        (
            r"scale format fp16 does not go with rule floor; e8m0 goes with floor, rceil, ceil, "
            r"even, rfloor, rnearest, other scale formats with other rules"
        ),
    ),
    (
        {"element": FORMATS["nf4"], "scale_format": FORMATS["e8m0"], "rule": ScaleRule.FLOOR},
        r"e8m0 scales need integer or float elements, not nf4",
    ),
    (
        {"second_level": PerTensor()},
        r"a second level of scales goes with e4m3 scales of groups, not fp16 scales per g128",
    ),
    (
        {"zero_point": ZeroPoint.INTEGER},
        r"zero point asym needs unsigned integer codes, not int4",
    ),
    (
        {"element": FORMATS["uint4"]},
        r"zero point sym needs signed codes, not uint4",
    ),
    (
        {"element": FORMATS["uint4"], "zero_point": ZeroPoint.MINIMUM},
        (
            r"zero point floatmin does not go with rule absmax; asym and floatmin go with minmax, "
            r"sym with other rules"
        ),
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        dataclasses.replace(SCHEMES["int4"], **changes)


def test_an_empty_group_is_refused():
    with pytest.raises(ValueError, match=r"^a group has at least 1 value, not 0$"):
        PerGroup(0)


def test_granularities_print_as_their_text():
    texts = [str(g) for g in (PerTensor(), PerChannel(), PerToken(), PerGroup(64))]
    assert texts == ["tensor", "channel", "token", "g64"]


def test_a_scheme_takes_keywords_only():
    with pytest.raises(TypeError):
        ElementScheme(FORMATS["int4"], PerGroup(128), FORMATS["fp16"])


# codebooks_ternary_structured, section 9: sizes of the sources' own files.
def test_stored_bits_are_those_of_the_sources_files():
    kinds = ("index", "full", "stored")
    aqlm, spqr = parse_scheme("aqlm-2x12"), parse_scheme("spqr-3")
    layers = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]
    weights = [rows * columns for rows, columns in layers]
    found = [
        np.average([aqlm.bits_per_weight(shape, kind=kind) for shape in layers], weights=weights)
        for kind in kinds
    ]
    assert np.round(found, 2).tolist() == [3.0, 3.04, 4.04]
    assert [spqr.bits_per_weight((4096, 4096), kind=kind) for kind in kinds] == [3.0, 3.625, 4.0]
    outliers = parse_scheme("spqr-3-o1").bits_per_weight((4096, 4096), kind="stored")
    assert outliers == pytest.approx(4.0 + 0.32, abs=0.01)
    four = parse_scheme("spqr-4")
    assert four.bits_per_weight((4096, 4096), kind="stored") == 4.625
