"""Costs: library, netlist, toggles and stored records."""

from pathlib import Path

import numpy as np
import pytest

import rtl.cost.synthesis
from hw.pe_record import list_records, load_record, read_record, write_record
from rtl.catalog import PES, find_pe
from rtl.cost import verilog_hash as kept
from rtl.cost.cells import CELLS, LIBERTY, SETUP_PS, liberty_text
from rtl.cost.cost import cost
from rtl.cost.gates import read_gates
from rtl.cost.library import read_library
from rtl.cost.synthesis import liberty_hash, synthesize
from rtl.cost.toggles import energy, run
from rtl.cost.verilog_hash import known_verilog_hash, verilog_hash
from rtl.toolchain import ToolError
from rtl.verilog.emit import verilog_text

OSU018 = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")


LIBRARY = read_library(LIBERTY)
RESET_PIN = "pin (RN) { direction : input; capacitance : 1.78; }"


@pytest.fixture(scope="module")
def netlist():
    return synthesize(find_pe("dint3-mac"))


def test_the_library_is_what_is_committed():
    assert LIBERTY.read_text() == liberty_text()


def test_the_library_reads_back_as_what_it_is_written_from():
    library = read_library(LIBERTY)
    assert library.voltage_v == 1.1 and set(library.cells) == set(CELLS)
    for name, cell in CELLS.items():
        found = library.cells[name]
        flop = cell.is_flip_flop
        caps = {pin: cap for pin, cap in cell.inputs.items() if pin != "CK"}
        assert found.inputs == pytest.approx(caps) and found.is_flip_flop == flop
        numbers = (found.area_um2, found.leakage_nw, found.internal_fj, found.delay_ps)
        expected = (cell.area_um2, cell.leakage_nw, cell.internal_fj, cell.delay_ps)
        assert numbers == pytest.approx(expected)
        assert not flop or (found.clock_ff, found.clock_edge_fj, found.setup_ps) == pytest.approx(
            (cell.inputs["CK"], cell.clock_edge_fj, SETUP_PS)
        )


def test_records_are_of_the_verilog_of_today():
    assert set(list_records()) == set(PES)
    for name in ("mixpe-w4a8", "dint3-mac"):
        record = load_record(name)
        assert record.verilog_sha256 == verilog_hash(PES[name])
        assert record.liberty_sha256 == liberty_hash(LIBERTY)


@pytest.mark.slow
def test_every_record_is_of_the_verilog_of_today():
    for name, pe in PES.items():
        remedy = f"qsim rtl cost {name} --all --out hw/pe_records"
        assert load_record(name).verilog_sha256 == verilog_hash(pe), remedy


def test_a_new_measurement_equals_the_record():
    stored, found = load_record("dint3-mac"), cost(find_pe("dint3-mac"))
    # abc's result may change a little with its version.
    assert found.area_um2 == pytest.approx(stored.area_um2, rel=0.02)
    assert found.energy_no_delay_fj_per_mac == pytest.approx(
        stored.energy_no_delay_fj_per_mac, rel=0.05
    )
    low, high = found.energy_no_delay_fj_per_mac, found.energy_unit_delay_fj_per_mac
    assert low < found.energy_gate_delay_fj_per_mac < high
    assert found.energy_gate_delay_fj_per_mac == pytest.approx(
        stored.energy_gate_delay_fj_per_mac, rel=0.05
    )


def test_area_is_that_of_the_cells(netlist):
    area = sum(CELLS[name].area_um2 * count for name, count in netlist.cells.items())
    assert netlist.area_um2 == pytest.approx(area)
    gates = read_gates(netlist, LIBRARY)
    caps = sum(sum(CELLS[name].inputs.values()) * count for name, count in netlist.cells.items())
    clock = CELLS["DFF"].inputs["CK"] * netlist.cells["DFF"]
    assert gates.load_ff.sum() == pytest.approx(caps - clock)
    assert 300 < gates.longest_path_ps < 2000


def test_a_wrong_gate_is_noticed(netlist, monkeypatch):
    import rtl.cost.cost

    def broken(pe, liberty):
        cells = dict(netlist.module["cells"])
        name = next(n for n, c in cells.items() if c["type"] == "XNOR2")
        cells[name] = {**cells[name], "type": "XOR2"}
        return type(netlist)(
            recipe="plain", area_um2=1.0, module={**netlist.module, "cells": cells}
        )

    monkeypatch.setattr(rtl.cost.cost, "synthesize", broken)
    with pytest.raises(ToolError, match="computes"):
        cost(find_pe("dint3-mac"))


def test_a_counter_of_changes_by_hand(netlist):
    gates = read_gates(netlist, LIBRARY)
    width, streams = gates.ports["operands__payload"].size, 3
    one, zero = np.ones((1, streams), bool), np.zeros((1, streams), bool)
    idle = {
        "operands__payload": np.zeros((width, streams), bool),
        "operands__valid": zero,
        "result__ready": one,
        "rst": zero,
    }
    still = run(gates, [{**idle, "rst": one}, {**idle, "rst": one}, idle, idle])
    settled = run(gates, [{**idle, "rst": one}, {**idle, "rst": one}, idle, idle, idle, idle])
    # Nothing changes once inputs stand still.
    assert np.array_equal(still.changes_no_delay, settled.changes_no_delay)
    found = energy(gates, settled)
    flops = netlist.cells["DFF"]
    assert found.clock_fj == pytest.approx(flops * (2 * 3.62 + 0.95 * 1.1**2))


def test_operands_are_gaussian_codes():
    operands = find_pe("int4x8-mac").typical(256, seed=0)
    weights, activations = operands["weights"], operands["activations"]
    values = np.where(activations > 127, activations - 256, activations)
    assert abs(values.std() / 128 * 3.5 - 1) < 0.05 and set(np.unique(weights)) == set(range(16))


def test_typical_ternary_weights_have_bitnets_zeros():
    pe = find_pe("ternary-16")
    weights = pe.typical(256, seed=0)["weights"]
    # Less than half of the mean magnitude: 31 %.
    assert 0.29 < (weights == 1).mean() < 0.33
    assert "of weights 1.25" in load_record("ternary-16").operands


def test_records_come_back(tmp_path):
    record = load_record("int8-mac")
    assert read_record(write_record(record, tmp_path)) == record
    with pytest.raises(ValueError, match="did you mean 'int8-mac'"):
        load_record("int8-mak")
    bad = tmp_path / "bad.json"
    for text, words in (("{", "not JSON"), ('{"a": 1}', "must have the keys"), ("{}", "missing")):
        bad.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_record(bad)


@pytest.mark.slow
def test_a_path_with_spaces_is_a_path(tmp_path):
    path = tmp_path / "a library; of mine.lib"
    path.write_text(LIBERTY.read_text())
    found = cost(find_pe("dint3-mac"), path)
    assert found.area_um2 == pytest.approx(load_record("dint3-mac").area_um2, rel=0.02)


@pytest.mark.skipif(not OSU018.exists(), reason="needs the osu018 library")
def test_another_library_works_the_same():
    record = cost(find_pe("dint3-mac"), OSU018)
    assert record.area_um2 > 1000 and record.library.startswith("osu")
    assert 1000 < record.delay_ps < 20_000 and 1e4 < record.energy_no_delay_fj_per_mac < 1e5


@pytest.fixture
def with_reset(tmp_path):
    """Return a library like the project's own, whose only flip-flop has an asynchronous clear."""
    text = (
        LIBERTY.read_text()
        .replace("cell (DFF)", "cell (DFFR)")
        .replace('clocked_on : "CK"; }', 'clocked_on : "CK"; clear : "!RN"; }')
        .replace(
            "    pin (CK)", "    pin (RN) { direction : input; capacitance : 1.78; }\n    pin (CK)"
        )
    )
    path = tmp_path / "with_reset.lib"
    path.write_text(text)
    return path


def test_flip_flops_that_all_have_a_reset_are_tied_off(with_reset):
    record = cost(find_pe("dint3-mac"), with_reset)
    assert record.area_um2 == pytest.approx(load_record("dint3-mac").area_um2, rel=0.02)
    library = read_library(with_reset)
    netlist = synthesize(find_pe("dint3-mac"), with_reset)
    flops = [c for c in netlist.module["cells"].values() if c["type"] == "DFFR"]
    assert flops and {c["connections"]["RN"][0] for c in flops} == {"1"}
    flops[0]["connections"]["RN"] = flops[0]["connections"]["D"]
    with pytest.raises(ToolError, match="DFFR is set or cleared asynchronously in the netlist"):
        read_gates(netlist, library)


def test_the_hash_of_a_netlist_leaves_out_names_and_places(netlist):
    def changed(cells, ports=netlist.module["ports"]):
        module = {**netlist.module, "cells": cells, "ports": ports}
        return type(netlist)(recipe="plain", area_um2=1.0, module=module).sha256

    cells = netlist.module["cells"]
    moved = {
        f"other_{name}": {
            **cell,
            "attributes": {"src": "pe.v:1.1"},
            "connections": {
                pin: [bit if isinstance(bit, str) else 5 + 3 * bit for bit in bits]
                for pin, bits in cell["connections"].items()
            },
        }
        for name, cell in cells.items()
    }
    ports = {
        name: {**port, "bits": [5 + 3 * bit for bit in port["bits"]]}
        for name, port in netlist.module["ports"].items()
    }
    assert changed(moved, ports) == netlist.sha256
    (first, *_) = cells
    others = {**cells, first: {**cells[first], "type": "BUF"}}
    assert changed(others) != netlist.sha256


@pytest.mark.slow
def test_comments_do_not_change_the_hash_of_a_netlist(netlist, monkeypatch):
    def commented(pe):
        return "// one more line\n\n" + verilog_text(pe).replace(";\n", ";\n\n")

    monkeypatch.setattr(rtl.cost.synthesis, "verilog_text", commented)
    assert synthesize(find_pe("dint3-mac")).sha256 == netlist.sha256


def test_the_hash_of_verilog_is_kept_until_a_source_changes(tmp_path, monkeypatch):
    pe, made = PES["int8-mac"], []
    monkeypatch.setattr(kept, "verilog_hash", lambda pe: made.append(pe.name) or f"{len(made)}")
    hashes = [known_verilog_hash(pe, memory=tmp_path) for _ in range(2)]
    (path,) = tmp_path.iterdir()
    path.write_text("{")  # damaged
    hashes.append(known_verilog_hash(pe, memory=tmp_path))
    monkeypatch.setattr(kept, "_sources_hash", lambda: "other")
    hashes.append(known_verilog_hash(pe, memory=tmp_path))
    assert hashes == ["1", "1", "2", "3"]
