"""The text form of schemes."""

import numpy as np
import pytest

from numerics import SCHEMES, parse_scheme, short_name

NAMES = [
    ("fp4", "fp4_e2m1:g128:fp16"),
    ("fp4_e2m1:g128:fp16", "fp4_e2m1:g128:fp16"),
    (" FP4:G64 ", "fp4_e2m1:g64:fp16"),
    ("int8:channel", "int8:channel:fp16"),
    ("int4:g64:asym:bf16", "int4:g64:asym:bf16"),
    ("int4:bf16:asym:g64", "int4:g64:asym:bf16"),
    ("int4-asym:g64:bf16", "int4:g64:asym:bf16"),
    ("int4-asym:sym", "int4:g128:fp16"),
    ("fp8_e4m3:token", "fp8_e4m3:token:fp16"),
    ("int8:tensor:fp32", "int8:tensor:fp32"),
    ("mxfp4", "mxfp4"),
    ("mxfp4:floor", "mxfp4"),
    ("mxfp4:g32:e8m0", "mxfp4"),
    ("mxfp4:rceil", "mxfp4-rceil"),
    ("fp4:g32:e8m0", "mxfp4"),
    ("fp4:g64:e8m0", "fp4_e2m1:g64:floor:e8m0"),
    ("nvfp4", "nvfp4"),
    ("fp4:g16:e4m3:two-level", "nvfp4"),
    ("fp4:g16:e4m3", "fp4_e2m1:g16:e4m3"),
    ("nf4:fp16", "nf4:g64:fp16"),
    ("ternary", "ternary:g128:fp16"),
    ("ternary:absmax", "ternary:g128:absmax:fp16"),
    ("int4:absmean", "int4:g128:absmean:fp16"),
    ("int4-floatmin", "int4:g32:floatmin:fp16"),
    ("int4_full", "int4_full:g128:fp16"),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_texts_mean_one_scheme(text, name):
    assert parse_scheme(text).name == name


ACTIVATIONS = [
    ("int8", "int8:token:fp32"),
    ("int8-asym", "int8:token:asym:fp32"),
    ("fp8_e4m3", "fp8_e4m3:token:fp32"),
    ("fp4_e2m1", "fp4_e2m1:token:fp32"),
    ("int8:g128", "int8:g128:fp32"),
    ("int8:tensor", "int8:tensor:fp32"),
    ("int8:bf16", "int8:token:bf16"),
    ("mxfp4", "mxfp4"),
    ("nvfp4", "nvfp4"),
    ("nf4", "nf4:g64:fp32"),
]


@pytest.mark.parametrize("role", ["activation", "kv"])
@pytest.mark.parametrize(("text", "name"), ACTIVATIONS)
def test_activations_and_cache_are_per_token_unless_said(text, name, role):
    assert parse_scheme(text, role=role).name == name


def test_group_size_changes_the_group():
    assert parse_scheme("fp4", group_size=64) == parse_scheme("fp4:g64")
    assert parse_scheme("fp4:g64", group_size=64) == parse_scheme("fp4:g64")
    assert parse_scheme("nf4", group_size=128).name == "nf4:g128:fp32"
    assert parse_scheme("mxfp4", group_size=32) == parse_scheme("mxfp4")
    assert parse_scheme("int8", group_size=64, role="activation").name == "int8:g64:fp32"


@pytest.mark.parametrize(
    ("name", "guess"),
    [("fp5", "fp4"), ("mxfp8", "mxfp4"), ("itn8", "int8"), ("nvfp", "nvfp4"), ("E4M3X", "")],
)
def test_an_unknown_format_is_reported_with_the_nearest_known(name, guess):
    hint = rf"; did you mean '{guess}'\?" if guess else r";.*"
    message = rf"^unknown format '{name.lower()}'{hint} `qsim formats` lists all$"
    with pytest.raises(ValueError, match=message):
        parse_scheme(name)


def test_an_unknown_format_far_from_any_is_reported_without_a_guess():
    with pytest.raises(ValueError, match=r"^unknown format 'zzz'; `qsim formats` lists all$"):
        parse_scheme("zzz")


MX = (
    "mxfp4 is defined with blocks of 32 and e8m0 scales; for others name the element, as in "
    "fp4_e2m1:g64:fp16"
)
REFUSED = [
    ("mxfp4", 64, MX),
    ("mxfp4:fp16", None, MX),
    ("mxfp4:channel", None, MX),
    (
        "nvfp4:g32",
        None,
        (
            "nvfp4 is defined with blocks of 16 and e4m3 scales; for others name the element, as "
            "in fp4_e2m1:g64:fp16"
        ),
    ),
    ("int8:channel", 64, "'int8:channel' has one scale per channel, no group for group_size=64"),
    ("int8:g32", 64, "'int8:g32' gives its group, and group_size=64 another"),
    ("int8:g32:channel", None, "'int8:g32:channel' gives its granularity twice"),
    ("int8:fp16:fp32", None, "'int8:fp16:fp32' gives its scale format twice"),
    (
        "int8:g",
        None,
        (
            "'g' in 'int8:g' is not one of tensor, channel, token, g<size>, sym, asym, floatmin, "
            "two-level, scale=<number>, a scale format (fp32, fp16, bf16, e4m3, e8m0) or a "
            "scale rule (absmax, minmax, absmean, floor, rceil, rfloor, rnearest, ceil, even)"
        ),
    ),
    ("int8:g0", None, "a group has at least 1 value, not 0"),
    ("nf4:asym", None, "zero point asym needs unsigned integer codes, not nf4"),
]


@pytest.mark.parametrize(("text", "group_size", "message"), REFUSED)
def test_what_a_text_cannot_mean_is_refused(text, group_size, message):
    with pytest.raises(ValueError) as error:
        parse_scheme(text, group_size=group_size)
    assert str(error.value) == message


def test_short_names_are_those_of_the_catalog():
    assert {short_name(scheme) for scheme in SCHEMES.values()} == set(SCHEMES)
    assert short_name(parse_scheme("fp4:g64")) == "fp4_e2m1:g64:fp16"


def test_a_table_of_the_users_own_values():
    scheme = parse_scheme("table(2, -1,0.1,0.5):g64")
    assert scheme.name == "table(-1,0.1,0.5,2):g64:fp16" and parse_scheme(scheme.name) == scheme
    assert (scheme.element.bits, scheme.element.table[1]) == (2, float(np.float32(0.1)))
    assert scheme.element.round(0.3) == float(np.float32(0.1))


@pytest.mark.parametrize("text", ["1", "", "a,b", "1,nan", "1e50,2", "-2,-1", "1,1.0"])
def test_invalid_tables_are_refused(text):
    with pytest.raises(
        ValueError, match=r"not a number|2 to 256 finite values, the largest above 0"
    ):
        parse_scheme(f"table({text})")
    with pytest.raises(ValueError, match=r"^unknown format 'table\(1,2'"):
        parse_scheme("table(1,2")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("e4m3fn", "fp8_e4m3"),
        ("float8_e4m3fnuz", "fp8_e4m3fnuz"),
        ("e5m2fnuz", "fp8_e5m2fnuz"),
        ("e4m3b11", "fp8_e4m3b11fnuz"),
        ("float4_e2m1fn", "fp4_e2m1"),
    ],
)
def test_names_that_say_which_codes_are_special_are_known(text, name):
    assert parse_scheme(text) == parse_scheme(name)


def test_formats_that_are_not_element_formats_are_refused():
    with pytest.raises(
        ValueError, match=r"^'e8m0' is a scale format here, not an element format; "
    ):
        parse_scheme("e8m0")
    with pytest.raises(ValueError, match=r"^unknown format 'e5m2fn'"):
        parse_scheme("e5m2fn")
