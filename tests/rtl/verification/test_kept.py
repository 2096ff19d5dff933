"""The cache of compiled models and benches: a changed PE is built anew."""

import numpy as np

import rtl.verification.compiled
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.simulated import run_bench
from rtl.verilog.emit import verilog_text

PE = find_pe("int4x8-mac")


def test_a_changed_pe_is_compiled_anew(tmp_path, monkeypatch):
    operands = PE.random(100, seed=0)
    text = verilog_text(PE)
    wrong = text.replace("$signed(state) + ", "$signed(state) - ")
    results = []
    for each in (text, wrong, text):
        with CompiledPe(PE, each, tmp_path) as model:
            results.append(np.array_equal(model.run(operands)[0], PE.golden(operands)))
    assert wrong != text and results == [True, False, True]
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(rtl.verification.compiled, "run_yosys", None)
    with CompiledPe(PE, text, tmp_path) as model:
        assert np.array_equal(model.run(operands)[0], PE.golden(operands))


def test_settings_for_other_work_change_no_simulation(tmp_path, monkeypatch):
    foreign = {
        "COCOTB_TEST_FILTER": "reset",
        "GPI_EXTRA": "none:none",
        "VERILATOR_ROOT": "/none",
        "CXXFLAGS": "-nonsense",
        "MAKEFLAGS": "-n",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    run = run_bench(PE, PE.random(50, seed=0), memory=tmp_path)
    assert (run.tests, run.failed) == (4, 0)


def test_a_changed_pe_is_simulated_anew(tmp_path):
    operands = PE.random(50, seed=0)
    text = verilog_text(PE)
    wrong = text.replace("posedge clk", "negedge clk")
    assert wrong != text
    failed = [
        run_bench(PE, operands, verilog=each, memory=tmp_path).failed
        for each in (text, wrong, text, wrong)
    ]
    assert failed[0] == failed[2] == 0 and failed[1] == failed[3] > 0
    assert len(list(tmp_path.iterdir())) == 2
