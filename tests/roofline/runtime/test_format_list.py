"""The list of serving formats: every name means the same weights as in ``numerics``."""

import pytest

from numerics.names.text import parse_scheme
from roofline.runtime.format_list import format_entry, list_formats, weight_name
from roofline.runtime.serving_format import parse_format

ENTRIES = {entry.name: entry for entry in list_formats()}


def test_every_listed_name_is_known_and_says_what_it_consists_of():
    for name, entry in ENTRIES.items():
        assert parse_format(name).name == name
        assert entry.bits_per_weight > 0 and entry.parts[0][0] == "weights" and entry.engine
        if entry.weights not in (None, "fp16"):
            parse_scheme(entry.weights)


def test_other_names_mean_the_same():
    for entry in ENTRIES.values():
        for name in entry.also:
            fmt, other = parse_format(entry.name), parse_format(name)
            assert (fmt.mix, fmt.weights.scheme) == (other.mix, other.weights.scheme)
    assert ENTRIES["w4a16"].also == ("int4",)
    assert "q4_k_m" in ENTRIES["gguf-q4_k_m"].also


@pytest.mark.parametrize("text", ["nvfp4", "mxfp4", "int4:g64", "bitmod-fp4", "nf4"])
def test_a_weight_format_of_numerics_is_a_serving_format(text):
    assert weight_name(text) == text
    entry = format_entry(text)
    assert entry.text.startswith(f"weights {text}, activations fp16, KV cache fp16")
    scheme = parse_scheme(text)
    assert entry.bits_per_weight == scheme.bits_per_weight((4096, 4096), kind="full")


def test_t_mac_has_one_bit_too():
    assert ENTRIES["tmac-1"].bits_per_weight == 1.125
