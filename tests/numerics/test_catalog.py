"""The catalog."""

import pytest

from numerics import CATALOG, FORMATS, SCHEMES, PerGroup, parse_scheme

REQUIRED = {
    *(f"int{n}{suffix}" for n in range(2, 9) for suffix in ("", "-asym")),
    "int4-floatmin", "fp4", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2", "nf4", "ternary",
    *(f"mx{name}{rule}" for rule in ("", "-rceil")
      for name in ("fp4", "fp6_e2m3", "fp6_e3m2", "fp8_e4m3", "fp8_e5m2", "int8")),
    "nvfp4",
}  # fmt: skip


def test_the_catalog_has_these_schemes():
    assert set(SCHEMES) == REQUIRED


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
