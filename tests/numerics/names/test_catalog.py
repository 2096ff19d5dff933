"""The catalog."""

import pytest

from numerics import CATALOG, FORMATS, SCHEMES, PerGroup, parse_scheme
from numerics.formats.constants import PLAIN

REQUIRED = {
    *(f"int{n}{suffix}" for n in range(2, 9) for suffix in ("", "-asym")),
    "int4-floatmin", "fp4", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2", "nf4", "ternary",
    "fp3", "fp4_e1m2", "fp4_e3m0", "fp5_e2m2", "fp5_e3m1", "fp8_e4m3_all", "fp8_e4m3_ieee",
    "fp8_e4m3fnuz", "fp8_e4m3b11fnuz", "fp8_e3m4", "fp8_e5m2fnuz", "pot4", "pot4_log", "apot4",
    "pot3", "pot5", "apot3", "apot5", "ant5", "llm-fp6", "llm-fp8",
    "olive3-int", "olive4-int", "olive5", "olive5-int",
    "flint3", "flint4", "flint5", *(f"dint{n}" for n in range(3, 9)), "nf2", "nf3", "fp4-bnb",
    "nf4-bnb",
    *(f"mx{name}{rule}" for rule in ("", "-rceil", "-ceil", "-even")
      for name in ("fp4", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2", "int8")),
    "nvfp4",
    *(f"bitmod-fp{bits}{kind}" for bits in (3, 4) for kind in ("", "-er", "-ea")),
    "bitnet-ternary", "bitnet-int8", "twn", "fbi-binary", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
    "mxfp4-gguf", "tq1_0", "tq2_0", "int1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl",
    "iq4_xs",
    "nvfp4-modelopt", "nvfp4-torchao", "nvfp4-ct", "nf4-dq",
    "nf4-lqdq", "nf3-lqdq", "nf2-lqdq-fp16", "int4-vs", "int8-vs",
    "zqfp4-m1", "zqfp4-m1-floor", "zqfp4-m1-nearest", "zqfp4-m2", "zqfp4-m2-nearest",
    "zqfp4-m2-ceil", *(f"dint{n}-{kind}" for n in (3, 4, 8) for kind in "fa"),
    *(f"int{n}-{name}" for n in (4, 8)
      for name in ("smoothquant", "awq", "gptq", "gptq-sym", "quarot", "quarot-act", "quarot-kv",
                   "ct", "ct-asym", "signedmax")),
    "e8p", "e8p-e81b", "e8p-2", "e8p-3", "aqlm-2x8", "aqlm-1x16", "vptq-v8-k256-256",
    "vptq-v6-k4096-0-o1-v4-k4096", "kmeans3", "kmeans4", "int4-2-of-4", "int8-2-of-4",
    "fp4_e2m1-2-of-4", "int8-top54", "int8-top39", "fp4_e2m1-lorc8", "int4-lorc8", "nf3-lq5x64",
    "ant3", "ant4", "ant3-mixed", "ant4-mixed", "olive3", "olive4", "llm-fp4",
    *(f"bitmod-fp{bits}-{kind}" for bits in (3, 4) for kind in ("fp16", "s8-ref", "s8-hw")),
    "spqr-3", "spqr-3-o1", "spqr-4-o1", "any-precision",
    *(f"any-precision-{bits}" for bits in range(3, 9)),
}  # fmt: skip


def test_the_catalog_has_these_schemes_and_new_plain_formats():
    # The files of the conformance pack pin the names of plain formats too.
    assert set(SCHEMES) - set(PLAIN) <= REQUIRED <= set(SCHEMES)


@pytest.mark.parametrize("name", CATALOG)
def test_every_scheme_names_its_source_and_is_found_by_name(name):
    assert len(CATALOG[name].source) > 10
    assert parse_scheme(name) == CATALOG[name].scheme


def test_plain_weights_have_groups_of_128_with_fp16_scales():
    for name in ("int4", "fp4", "fp8_e4m3", "int3-asym", "ternary"):
        scheme = SCHEMES[name]
        assert (scheme.granularity, scheme.scale_format) == (PerGroup(128), FORMATS["fp16"])


def test_formats_are_found_by_their_own_name():
    assert all(fmt.name == name for name, fmt in FORMATS.items())


def test_a_group_is_fixed_where_no_other_is_defined():
    named = {name for name, entry in CATALOG.items() if not entry.is_fixed}
    assert {"twn", "int1", "int4-awq", "int4-vs", "zqfp4-m1", "zqfp4-m2", "dint4-a"} <= named
    assert not {"q4_0", "nvfp4-ct", "nf4-dq", "bitnet-int8"} & named
    for name in named:
        assert parse_scheme(name, group_size=32).group_size == 32
