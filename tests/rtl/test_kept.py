"""What is kept of builds: the right file of the same parts, and no more than there is room for."""

import os
from pathlib import Path

import numpy as np
import pytest

import rtl.compiled
import rtl.kept
from rtl.catalog import find_pe
from rtl.compiled import CompiledPe
from rtl.emit import verilog_text
from rtl.kept import build_once
from rtl.simulated import run_bench

PE = find_pe("int4x8-mac")


@pytest.fixture
def builder(tmp_path):
    """A function that has a file built of some parts; it returns its text, and whether it was."""

    def build(*parts, text="built"):
        target, done = tmp_path / "target", []

        def write():
            done.append(parts)
            target.write_text(text)

        target.unlink(missing_ok=True)
        build_once(target, parts, write, memory=tmp_path / "memory")
        return target.read_text(), bool(done)

    return build


def test_the_same_parts_are_built_once_and_others_anew(builder):
    assert builder("source", "command") == ("built", True)
    assert builder("source", "command") == ("built", False)
    assert builder("source", "other", text="of another") == ("of another", True)
    assert builder("source", "command") == ("built", False)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"?"])
def test_a_damaged_file_is_built_anew(builder, tmp_path, damage):
    builder("source")
    (known,) = (tmp_path / "memory").iterdir()
    known.write_bytes(damage(known.read_bytes()))
    assert builder("source", text="again") == ("again", True)
    assert builder("source") == ("again", False)


def test_files_that_were_used_longest_ago_make_room(builder, tmp_path, monkeypatch):
    monkeypatch.setattr(rtl.kept, "LIMIT_BYTES", 3 * (32 + 100))
    for name in "abc":
        builder(name, text="x" * 100)
    for age, path in enumerate((tmp_path / "memory").iterdir()):
        os.utime(path, (age, age))
    assert not builder("a", text="x" * 100)[1]
    builder("d", text="x" * 100)
    assert len(list((tmp_path / "memory").iterdir())) == 3
    assert not builder("a", text="x" * 100)[1] and not builder("d", text="x" * 100)[1]


def test_a_folder_that_cannot_be_used_keeps_nothing(builder, tmp_path):
    (tmp_path / "memory").write_text("a file")
    assert [builder("source"), builder("source")] == [("built", True)] * 2


def test_a_kept_file_that_is_a_folder_is_passed_over(builder, tmp_path):
    builder("source")
    (known,) = (tmp_path / "memory").iterdir()
    known.unlink()
    known.mkdir()
    assert [builder("source"), builder("source")] == [("built", True)] * 2
    assert list((tmp_path / "memory").iterdir()) == [known]


def test_a_full_disk_leaves_no_part(builder, tmp_path, monkeypatch):
    write = Path.write_bytes

    def fill(path, content):
        write(path, content[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert builder("source") == ("built", True)
    assert list((tmp_path / "memory").iterdir()) == []


def test_without_a_memory_all_is_built(tmp_path):
    done = []
    for _ in range(2):
        build_once(tmp_path / "target", [], lambda: done.append(1), memory=None)
    assert len(done) == 2


def test_a_changed_pe_is_compiled_anew(tmp_path, monkeypatch):
    operands = PE.random(100, seed=0)
    text = verilog_text(PE)
    wrong = text.replace("$signed(total) + ", "$signed(total) - ")
    results = []
    for each in (text, wrong, text):
        with CompiledPe(PE, each, tmp_path) as model:
            results.append(np.array_equal(model.run(operands)[0], PE.golden(operands)))
    assert wrong != text and results == [True, False, True]
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(rtl.compiled, "run_yosys", None)
    with CompiledPe(PE, text, tmp_path) as model:
        assert np.array_equal(model.run(operands)[0], PE.golden(operands))


def test_settings_for_other_work_change_no_simulation(tmp_path, monkeypatch):
    foreign = {
        "COCOTB_TEST_FILTER": "reset", "GPI_EXTRA": "none:none", "VERILATOR_ROOT": "/none",
        "CXXFLAGS": "-nonsense", "MAKEFLAGS": "-n",
    }  # fmt: skip
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
