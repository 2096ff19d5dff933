"""PEs at equal MACs per cycle: their sizes, their records, and a run of one that is serial."""

import numpy as np
import pytest

from hw.pe_record import COMPARABLE_RECORDS, list_records, load_comparable, load_record
from rtl.catalog import PES, find_pe
from rtl.comparable import MACS_PER_CYCLE, comparable, comparables
from rtl.cost.verilog_hash import verilog_hash
from rtl.verification.compiled import CompiledPe

FOUND = comparables(PES.values())


def test_every_variant_has_its_macs_per_cycle_and_a_record():
    assert set(FOUND) - set(PES) == set(COMPARABLE_RECORDS.names())
    for name, pe in FOUND.items():
        record = load_comparable(name)
        assert pe.lanes / pe.cycles in MACS_PER_CYCLE
        assert record.macs_per_cycle == pe.lanes / pe.cycles and record.energy.nominal_pj > 0
        assert record.name == name and find_pe(name) == pe
        assert record.liberty_sha256 == load_record("int8-mac").liberty_sha256


def test_lanes_do_not_change_what_a_variant_is_compared_as():
    assert comparable(PES["int8-16"], 16).name == comparable(PES["int8-mac"], 16).name
    # The circuit is that of the PE with such scales in the catalog.
    own, other = load_comparable("mixpe-w4a8-scaled-x16"), load_record("mixpe-w4a8-int8")
    assert own.area_um2 == pytest.approx(other.area_um2, rel=0.02)
    assert comparable(PES["mixpe-w4a8-int8"], 16) == PES["mixpe-w4a8-int8"]


@pytest.mark.parametrize(
    "name,words",
    [
        ("fp16-mac", "its sums round"),
        ("uint4-zero-16", "beside it, after the zero points"),
        ("e8p-dot", "codes or memories set its lanes"),
        ("tl1-lookup", "several outputs"),
    ],
)
def test_other_structures_have_no_variant(name, words):
    with pytest.raises(ValueError, match=words):
        comparable(PES[name], 16)


def test_verilog_of_one_record_is_that_of_today():
    name = "int4-16-scaled-x16"
    assert load_comparable(name).verilog_sha256 == verilog_hash(FOUND[name])


@pytest.mark.slow
def test_verilog_of_every_record_is_that_of_today():
    for name in set(FOUND) - set(list_records()):
        remedy = f"qsim rtl cost {name} --all --out hw/pe_records/comparable"
        assert load_comparable(name).verilog_sha256 == verilog_hash(FOUND[name]), remedy


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FOUND) - set(PES)))
def test_variants_compute_what_their_model_does(name):
    pe = FOUND[name]
    with CompiledPe(pe) as model:
        for operands in (pe.random(200, seed=0), pe.corners(), pe.typical(20, seed=0)):
            found, cycles = model.run(operands)
            groups, beats, _ = operands["weights"].shape
            assert np.array_equal(found, pe.golden(operands))
            assert cycles == groups * beats * pe.cycles + pe.latency
