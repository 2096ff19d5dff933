"""Formats that PEs read, against the PEs' own definitions."""

import pytest

from hw.pe_reads import (
    INSIDE,
    SAME_CODES,
    UNSUPPORTED,
    activation_bits,
    code_bits,
    why_not_activations,
    why_not_weights,
)
from hw.pe_record import list_records, load_record
from numerics.names.text import parse_scheme
from rtl.arithmetic.scalers import scale_formats
from rtl.catalog import PES
from rtl.pe.block_dot.element import BlockDotPe

SCALES = {"e8m0": "fp8_e8m0", "e4m3": "fp8_e4m3", "fp16": "fp16", "s7": "int8"}


def test_the_pes_that_apply_scales_are_those_of_the_catalog():
    blocks = {name: pe for name, pe in PES.items() if isinstance(pe, BlockDotPe)}
    assert blocks.keys() == INSIDE.keys()
    for name, pe in blocks.items():
        kinds = scale_formats(pe.model)
        assert INSIDE[name].group == pe.model.block
        assert INSIDE[name].both == (len(kinds) == 2)
        assert kinds[0].name.endswith(SCALES[INSIDE[name].scale].removeprefix("fp8_")), name


def test_every_record_of_a_machines_pe_has_codes_and_activations_of_known_widths():
    for name in list_records():
        if name in UNSUPPORTED:
            continue
        record, pe = load_record(name), PES[name]
        meaning = pe.field(pe.activation_field).meaning
        assert isinstance(meaning, str) or meaning.bits == activation_bits(record)
        assert 1 <= code_bits(record) <= 16
        assert record.result_bits == pe.result_shape.width
    assert {
        load_record(name).weights for name in PES if name in list_records()
    } >= SAME_CODES.keys()


@pytest.mark.parametrize(
    "pe,name",
    [
        ("mixpe-w4a8", "int4"), ("mixpe-w4a8", "int3"), ("int8-mac", "int8:channel"),
        ("mixpe-w4a8-shift", "int4:g128:e8m0"), ("mixpe-w4a8-int8", "int4-vs-s7:g128"),
        ("mixpe-w4a8-fp16", "int4"), ("mxfp4-dot", "mxfp4-rceil"), ("nvfp4-dot", "nvfp4"),
        ("fp4-dot", "mxfp4"), ("ternary-16", "bitnet-ternary"), ("dint4-mac", "dint4"),
        ("bitmod-fp4-aligned", "bitmod-fp4"), ("bitmod-fp4-special", "bitmod-fp4"),
        ("e8p-dot", "e8p"), ("nf4-16", "nf4_int8"), ("uint4-zero-16", "int4-asym"),
    ],
)  # fmt: skip
def test_a_pe_reads_its_formats(pe, name):
    assert why_not_weights(load_record(pe), parse_scheme(name)) == ""


@pytest.mark.parametrize(
    "pe,name,why",
    [
        ("mixpe-w4a8", "fp4", "reads codes of int4, not those of fp4"),
        ("mixpe-w4a8", "nf4", "not those of nf4"),
        ("mixpe-w4a8", "int8", "not those of int8"),
        ("mixpe-w4a8", "int4-asym", "not those of int4-asym"),
        ("int8-mac", "mxint8", "not those of mxint8"),
        ("nvfp4-dot", "mxfp4", "applies e4m3 scales to groups of 16, not e8m0 scales to groups of"),
        ("mixpe-w4a8-shift", "int4", "applies e8m0 scales to groups of 128, not fp16 scales"),
        ("mixpe-w4a8-fp16", "int4:channel", "not fp16 scales to whole rows"),
        ("ternary-16", "int4", "reads ternary or bitnet-ternary or twn, not those of int4"),
    ],
)  # fmt: skip
def test_a_pe_refuses_other_codes_and_scales(pe, name, why):
    assert why in why_not_weights(load_record(pe), parse_scheme(name))


def test_groups_are_whole_beats():
    why = why_not_weights(load_record("ternary-16"), parse_scheme("ternary:g24"))
    assert why == "groups of 24 are not whole beats of 16 lanes of ternary-16"


def test_only_a_pe_of_fp16_reads_fp16():
    assert why_not_weights(load_record("fp16-mac"), None) == ""
    assert "not FP16" in why_not_weights(load_record("int8-mac"), None)
    assert why_not_activations(load_record("fp16-mac"), "fp16") == ""
    assert why_not_activations(load_record("int8-mac"), "fp16") == (
        "int8-mac reads activations in int8, not fp16"
    )
    assert why_not_activations(load_record("mxfp4-dot"), "fp4") == ""
