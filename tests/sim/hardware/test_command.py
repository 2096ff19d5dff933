"""``qsim rtl`` on the command line: outputs, messages and exit codes."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import rtl.cost.macros
import sim.hardware.command
import sim.hardware.fpga
from hw.pe_record import FOLDER, load_comparable, load_record, read_record
from rtl.catalog import PES
from rtl.cost.cells import LIBERTY
from rtl.verification.verify import Verdict
from sim.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main(["rtl", *map(str, arguments)])
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


def test_the_list_has_every_pe(capsys):
    code, out, _ = run(capsys)
    assert code == 0 and all(name in out for name in PES)


def test_emitted_verilog_says_what_it_is(capsys, tmp_path):
    code, out, _ = run(capsys, "emit", "mixpe-w4a8", "--out", tmp_path / "deep", "--lanes", 2)
    (path,) = (tmp_path / "deep").iterdir()
    assert code == 0 and str(path) in out
    text = path.read_text()
    assert text.startswith("// mixpe-w4a8: dot products of int4 weights and int8 activations")
    assert "// 2 lanes per beat" in text and "module mixpe_w4a8(" in text


def test_a_pe_takes_other_formats(capsys, tmp_path):
    arguments = ["--weights", "fp4_e2m1", "--activations", "int6", "--length", 64]
    code, _, _ = run(capsys, "emit", "int8-mac", "--out", tmp_path, *arguments)
    (path,) = tmp_path.iterdir()
    assert code == 0 and path.name == "fp4_e2m1_int6_like_int8_mac.v"
    text = path.read_text()
    head = "// fp4_e2m1-int6-like-int8-mac: dot products of fp4_e2m1 weights and int6 activations"
    assert text.startswith(head) and "module fp4_e2m1_int6_like_int8_mac(" in text
    # The largest sum is 64 * 12 * 32 in units of 1/2, which fits in 16 bits.
    assert "in units of 2^-1" in text and "output [15:0] result__payload" in text


def test_stored_costs_need_no_synthesis(capsys, monkeypatch):
    monkeypatch.setattr(sim.hardware.command, "cost", None)
    code, out, _ = run(capsys, "cost", "int8-mac", "fp4-dot")
    assert code == 0 and "fp4-dot" in out and "stale" not in out.lower()
    code, out, _ = run(capsys, "cost", "int8-mac", "--json")
    assert json.loads(out)["area_um2"] == load_record("int8-mac").area_um2


def test_the_cost_of_one_pe_is_relative_to_int8_with_as_many_macs_per_cycle(capsys):
    row = run(capsys, "cost", "mixpe-w4a8")[1].splitlines()[1].split()
    own, base = (load_comparable(f"{name}-scaled-x16") for name in ("mixpe-w4a8", "int8-mac"))
    assert f"{own.area_um2 / base.area_um2:.2f}" == row[3]
    assert f"{own.energy.nominal_pj / base.energy.nominal_pj:.2f}" == row[4]
    luts = [load_record(name).placed_on("ecp5")[1].luts for name in ("mixpe-w4a8", "int8-mac")]
    row = run(capsys, "cost", "mixpe-w4a8", "--fpga", "ecp5")[1].splitlines()[1].split()
    assert f"{luts[0] / luts[1]:.2f}" == row[-1]


def test_a_stale_record_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(sim.hardware.command, "known_verilog_hash", lambda pe, memory: "another")
    _, out, _ = run(capsys, "cost", "int8-mac")
    assert "int8-mac (stale)" in out and "memory model has changed): int8-mac" in out
    monkeypatch.undo()
    monkeypatch.setattr(sim.hardware.command, "liberty_hash", lambda path: "another")
    assert "int8-mac (stale)" in run(capsys, "cost", "int8-mac")[1]


def test_a_record_of_memories_by_other_laws_is_stale(capsys, monkeypatch):
    assert "stale" not in run(capsys, "cost", "aqlm-2x8")[1].lower()
    monkeypatch.setattr(rtl.cost.macros, "macro_area_um2", lambda words, bits: 1.0)
    assert "aqlm-2x8 (stale)" in run(capsys, "cost", "aqlm-2x8")[1]


def test_a_missing_tool_is_told_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, out, err = run(capsys, "verify", "int8-mac")
    assert code == 2 and out == "" and "no g++ on this machine; install g++" in err


def test_stored_placements_need_no_tools(capsys, monkeypatch):
    monkeypatch.setattr(sim.hardware.fpga, "fpga_costs", None)
    code, out, _ = run(capsys, "cost", "int8-mac", "mixpe-w4a8", "--fpga", "ice40")
    (with_dsp, without) = load_record("int8-mac").placed_on("ice40")
    row = next(line for line in out.splitlines() if line.startswith("int8-mac")).split()
    assert code == 0 and row[1:7] == [
        str(with_dsp.luts),
        str(with_dsp.flip_flops),
        "1",
        f"{with_dsp.fmax_mhz:.1f}",
        str(without.luts),
        f"{without.fmax_mhz:.1f}",
    ]
    monkeypatch.setattr(sim.hardware.fpga, "known_verilog_hash", lambda pe, memory: "another")
    _, out, _ = run(capsys, "cost", "int8-mac", "--fpga", "ice40")
    assert "int8-mac (stale)" in out


def test_a_placement_is_stored_beside_the_others(capsys, monkeypatch, tmp_path):
    record = load_record("int8-mac")
    (old, without) = record.placed_on("ecp5")
    new = dataclasses.replace(old, luts=7), dataclasses.replace(without, luts=8)
    monkeypatch.setattr(sim.hardware.fpga, "fpga_costs", lambda pe, family: new)
    arguments = ["cost", "int8-mac", "--fpga", "ecp5", "--all", "--json", "--out", tmp_path]
    _, out, _ = run(capsys, *arguments)
    found = read_record(tmp_path / "int8-mac.json")
    assert found.placed_on("ecp5") == new and found.placed_on("ice40") == record.placed_on("ice40")
    assert [each["luts"] for each in json.loads(out)["fpga"]][:2] == [7, 8]


def test_a_new_measurement_keeps_the_placements(capsys, monkeypatch, tmp_path):
    record = load_record("int8-mac")
    bare = dataclasses.replace(record, fpga=())
    monkeypatch.setattr(sim.hardware.command, "cost", lambda pe, liberty, stream: bare)
    assert run(capsys, "cost", "int8-mac", "--all", "--out", tmp_path)[0] == 0
    assert read_record(tmp_path / "int8-mac.json") == record


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("more", [[], ["--fpga", "ecp5"], ["--liberty", LIBERTY]])
def test_new_records_are_written_nowhere_unless_asked_for(capsys, monkeypatch, tmp_path, more):
    record, before = load_record("int8-mac"), contents(FOLDER)
    changed = dataclasses.replace(record, area_um2=1.0)
    placed = tuple(dataclasses.replace(one, luts=7) for one in record.placed_on("ecp5"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sim.hardware.command, "cost", lambda pe, liberty, stream: changed)
    monkeypatch.setattr(sim.hardware.fpga, "fpga_costs", lambda pe, family: placed)
    assert run(capsys, "cost", "int8-mac", "--all", *more)[0] == 0
    assert contents(FOLDER) == before and list(tmp_path.iterdir()) == []


def test_records_that_cannot_be_written_are_one_line(capsys, monkeypatch, tmp_path):
    def refuse(record, folder):
        raise PermissionError(13, "Permission denied", str(folder / "int8-mac.json"))

    record = load_record("int8-mac")
    monkeypatch.setattr(sim.hardware.command, "cost", lambda pe, liberty, stream: record)
    monkeypatch.setattr(sim.hardware.command, "write_record", refuse)
    code, out, err = run(capsys, "cost", "int8-mac", "--all", "--out", tmp_path)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and "int8-mac.json" in err


@pytest.mark.slow
def test_verification_of_one_pe(capsys):
    code, out, _ = run(capsys, "verify", "dint3-mac", "--dots", 1000)
    assert code == 0 and out.count(" ok ") == 7


def test_verification_ends_well_or_not(capsys, monkeypatch):
    def verdict(is_good):
        return Verdict(
            pe="dint3-mac",
            layer="simulated",
            what="4 tests",
            vectors=7,
            time_s=1.0,
            is_good=is_good,
            detail="" if is_good else "ran no test",
        )

    for found, code in (([True], 0), ([True, False, True], 1), ([], 1)):
        verdicts = [verdict(is_good) for is_good in found]
        monkeypatch.setattr(sim.hardware.command, "verify", lambda pe, v=verdicts, **more: iter(v))
        ended, out, _ = run(capsys, "verify", "dint3-mac")
        assert ended == code and out.count("FAILED") == found.count(False)


@pytest.mark.slow
def test_ctrl_c_ends_all_that_verification_started(tmp_path):
    """Check that workers leave no temporary files."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "QSIM_CACHE": str(tmp_path.parent / "new")}
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from sim.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "rtl", "verify", "dint3-mac", "fp4-dot"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("*/pe.v")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (
        130,
        "qsim: interrupted; run the same command to go on\n",
    )
    assert list(tmp_path.iterdir()) == []


def prepare_death(dots, advance):
    return lambda name: os._exit(9)


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sim.hardware.command, "_prepare_verdicts", prepare_death)
    code, out, err = run(capsys, "verify", "dint3-mac", "fp4-dot", "--workers", "2")
    assert code == 2 and out == ""
    assert err.startswith("qsim: 3 processes that worked on ") and err.count("\n") == 1


@pytest.mark.slow
def test_workers_cost_and_verify_what_one_process_does(capsys, tmp_path):
    names = ["int4x8-mac", "dint3-mac", "int8-mac"]
    printed = {}
    for workers in (1, 2):
        more = ["--workers", str(workers)]
        out = tmp_path / str(workers)
        _, costs, _ = run(capsys, "cost", *names, "--all", "--json", "--out", str(out), *more)
        code, verdicts, _ = run(capsys, "verify", *names, "--dots", "1000", *more)
        found = [line.split()[:3] for line in verdicts.splitlines()]
        records = {path.name: path.read_text() for path in out.iterdir()}
        printed[workers] = code, costs, found, records
    assert printed[1] == printed[2] and len(printed[1][3]) == 3
    assert [json.loads(line)["name"] for line in printed[1][1].splitlines()] == names


@pytest.mark.parametrize("command", ["cost", "verify"])
@pytest.mark.parametrize("workers", ["0", "-1", "1.5"])
def test_a_number_of_workers_is_at_least_one(capsys, command, workers):
    code, out, err = run(capsys, command, "int8-mac", "--workers", workers)
    assert code == 2 and out == "" and "--workers" in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_layer_of_the_embedded_model(capsys):
    arguments = ["run-layer", "mixpe-w4a8", "--tokens", 4, "--layer", "layers.1.self_attn.o_proj"]
    code, out, _ = run(capsys, *arguments, "--json")
    found = json.loads(out)
    assert code == 0 and found["wrong_sums"] == found["wrong_outputs"] == 0
    assert found["macs"] == 4 * 256 * 256 and found["sums"] == 2 * 4 * 256


@pytest.mark.slow
def test_a_wrong_circuit_is_seen_in_a_layer(capsys, monkeypatch):
    import sim.hardware.run_layer
    from rtl.arithmetic.products import Multiplier

    class Wrong(Multiplier):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += self.product.eq(self.weight.as_signed() * self.activation)
            return m

    pe = dataclasses.replace(PES["int4x8-mac"], product=Wrong)
    found = sim.hardware.run_layer.run_layer(
        "embedded", "layers.0.self_attn.q_proj", pe, tokens=2, lanes=8
    )
    assert found.wrong_sums > 0 and found.wrong_outputs > 0 and not found.is_equal


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["emit", "mixpe-w4a9", "--out", "x"], ["unknown PE", "'mixpe-w4a8'"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--accumulator", 9], ["9 bits is too narrow", "19"]),
        (["emit", "bitmod-fp4-aligned", "--out", "x", "--accumulator", 26], ["26 bits", "to 25"]),
        (["emit", "bitmod-fp4-special", "--out", "x", "--accumulator", 7], ["proved for up to 32"]),
        (["emit", "bitmod-fp4-column", "--out", "x", "--accumulator", 18], ["FP32", "up to 17"]),
        (["emit", "mixpe-w4a16-running", "--out", "x", "--accumulator", 21], ["32 bits, not 21"]),
        (["emit", "fp16-mac", "--out", "x", "--accumulator", 30], ["bits of fp16-mac is fixed"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--lanes", 0], ["--lanes"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--lanes", 200], ["200 lanes", "128"]),
        (["emit", "mixpe-w4a8"], ["--out"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--weights", "int44"], ["format 'int44'", "'int4'"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--activations", "fp16"], ["16 bits", "1 to 8"]),
        (["emit", "mixpe-w4a8", "--out", "x", "--weights", "nf4"], ["nf4 are not multiples"]),
        (["emit", "fp4-dot", "--out", "x", "--weights", "int4"], ["not a floating-point format"]),
        (
            ["emit", "e8p-dot", "--out", "x", "--weights", "int4"],
            ["the formats of e8p-dot are fixed, e8p"],
        ),
        (["emit", "binary-columns", "--out", "x", "--accumulator", 70], ["sums of up to 31 bits"]),
        (["emit", "mixpe-w4a8", "--out", "a.file"], ["a.file is a file"]),
        (["emit", "INT8-MAC", "--out", "x"], ["unknown PE 'INT8-MAC'; did you mean 'int8-mac'?"]),
        (["verify", "foo"], ["unknown PE 'foo'"]),
        (["emit", "int4", "--out", "x"], ["int4 is a format; 'qsim rtl show int4' lists the PEs"]),
        (["run-layer", "foo"], ["unknown PE 'foo'"]),
        (["run-layer", "int8-mac", "--model", "foo"], ["unknown model 'foo'"]),
        (["run-layer", "int8-mac", "--layer", "layers.99.q"], ["no linear layer 'layers.99.q'"]),
        (["run-layer", "bitmod-dequantizer"], ["can't run a layer", "it is a part of a PE"]),
        (["run-layer", "e8p-dot", "--codes", "x"], ["--codes writes rows", "e8p-dot reads none"]),
        (["run-layer", "int8-mac", "--lanes", 200], ["200 lanes; give 1 to the length, 128"]),
        (["run-layer", "mixpe-w4a16-running", "--lanes", 2], ["adds one product per cycle"]),
        (["cost", "int8-mac", "--liberty", "nowhere.lib"], ["nowhere.lib", "no such file"]),
        (["cost", "int8-mac", "--out", "a.file"], ["--out a.file is a file", "directory"]),
        (["cost", "int8-mac", "--fpga", "gowin"], ["unknown FPGA 'gowin'", "ecp5, ice40"]),
        (["cost", "--fpga", "ecp5", "--liberty", "a.file"], ["drop --liberty"]),
        (["cost", "int8-mac", "--liberty", "a.file"], ["a.file: line 1: the file ends"]),
        (["cost", "int8-mac", "--liberty", "bad.lib"], ["bad.lib: line 1", "lacks a }"]),
        (["cost", "int8-mac", "--liberty", "gates.lib"], ["gates.lib has no flip-flop"]),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.file").write_text("nothing")
    (tmp_path / "bad.lib").write_text("library (x) { cell (A) { area : }")
    (tmp_path / "gates.lib").write_text(re.sub(r"\bff \(", "fl (", LIBERTY.read_text()))
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert {path.name for path in tmp_path.iterdir()} == {"a.file", "bad.lib", "gates.lib"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "ternary",
            ["ternary-16", "read it too, with the sign extended: int8-mac,"],
        ),
        ("int3", ["PEs of wider codes read int3, with the sign extended: int8-mac, int4x8-mac,"]),
        ("i2_s", ["ternary-16"]),
        ("E2M1", ["fp4-dot", "mxfp4-dot"]),
        ("w4a8", ["mixpe-w4a8 ", "read it too, with the sign extended: int8-mac, booth-w8a8"]),
    ],
)
def test_a_format_shows_the_pes_that_read_it(capsys, name, words):
    code, out, err = run(capsys, "show", name)
    assert (code, err) == (0, "") and all(each in out for each in words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nf3", "no PE reads nf3; 'qsim rtl' lists PEs and their formats"),
        ("bf16", "no PE reads bf16; 'qsim rtl' lists PEs and their formats"),
        ("float32", "no PE reads float32; 'qsim rtl' lists PEs and their formats"),
        ("fp6_e2m3", "no PE of the catalog reads fp6_e2m3; 'qsim rtl emit int8-mac --weights .*'"),
        ("q4_k_m", "q4_k_m is a mix of formats: Q4_K; .* Q6_K; name one of them, such as q4_k"),
    ],
)
def test_a_format_without_a_pe_says_what_works(capsys, name, words):
    code, out, err = run(capsys, "show", name)
    assert (code, out) == (2, "") and re.match(f"qsim: {words}", err) and err.count("\n") == 1
