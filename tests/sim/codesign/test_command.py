"""``qsim codesign``: answers, limits, files and errors."""

import csv
import json

import numpy as np
import pytest

from hw.fpga import FPGAS
from hw.pe_record import load_record
from sim.cli import main
from sim.codesign.accuracy import find_accuracy
from sim.codesign.accuracy_file import AccuracyRow, read_accuracy, write_accuracy
from sim.codesign.command import run_codesign
from sim.codesign.options import CodesignOptions
from sim.codesign.search import OBJECTIVES, Limits, evaluated

SMALL = CodesignOptions(
    rows=(4, 16), bandwidth=(3.2, 6.4), clock=(100.0, 200.0), formats=("int8", "mxfp4", "fp16")
)
AXES = ["--rows", "4", "16", "--bandwidth", "3.2", "6.4", "--clock", "100", "200"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main(["codesign", *arguments])
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def found():
    from dataclasses import replace

    return run_codesign("smollm2-135m", replace(SMALL, target=10.0, area=0.5))


def test_the_front_is_that_of_all_designs_within_the_limits(found):
    numbers, points = [], []
    for some, values, valid in evaluated(found.space):
        keep = valid & (values[:, 3] <= 0.1) & (values[:, 1] <= 0.5)
        numbers += some[keep].tolist()
        points += values[keep].tolist()
    points = np.array(points)
    front = [
        number
        for number, row in zip(numbers, points, strict=True)
        if not ((points <= row).all(axis=1) & (points < row).any(axis=1)).any()
    ]
    assert len(numbers) == found.outcome.within > len(front)
    assert sorted(design.number for design in found.designs) == sorted(front)


def test_the_answer_is_on_the_front_with_the_least_energy_of_accurate_designs(found):
    accurate = [d for d in found.designs if d.pair.accuracy.kl_nats <= 0.02]
    assert found.chosen.energy_j[1] == min(d.energy_j[1] for d in accurate)
    low, nominal, high = found.chosen.energy_j
    assert low < nominal < high
    assert found.chosen.tokens_per_s >= 10 and found.chosen.area <= 0.5
    assert found.chosen.bound_tokens_per_s > found.chosen.tokens_per_s
    place = list(OBJECTIVES).index("time_s")
    row = found.outcome.front.numbers.tolist().index(found.chosen.number)
    assert found.outcome.front.points[row, place] == pytest.approx(1 / found.chosen.tokens_per_s)


def test_parts_add_up_and_steps_are_differences(found):
    design = found.chosen
    assert sum(design.energy_parts_j.values()) == pytest.approx(design.energy_j[1], rel=1e-6)
    row = found.outcome.front.numbers.tolist().index(design.number)
    assert found.outcome.front.points[row, 1] == pytest.approx(design.area)
    assert {change.what.split(" ")[0] for change in found.changes} <= {"rows", "memory", "clock"}
    up = [c for c in found.changes if c.what.startswith("rows 4")]
    assert all(change.area > 0 for change in up)


def test_files_and_a_machine_that_roofline_reads(capsys, tmp_path):
    out = tmp_path / "chip"
    code, text, err = run(
        capsys, "smollm2-135m", "--target", "10", *AXES, "--format", "int8", "--out", str(out)
    )
    assert code == 0, err
    assert "tokens/s expected" in text and "what one step buys" in text and "mJ" in text
    record = json.loads((out / "codesign.json").read_text())
    answer = record["answer"]
    lines = [x for x in (out / "front.csv").read_text().splitlines() if not x.startswith("#")]
    rows = {int(row["design"]): row for row in csv.DictReader(lines)}
    assert len(rows) == len(record["front"]) and answer["design"] in rows
    assert "qsim sweep --model smollm2-135m" in (out / "missing.csv").read_text()
    page = (out / "codesign.html").read_text()
    assert "SmolLM2" in page or "smollm2" in page
    number = int(max(rows))
    code, path, _ = run(capsys, "emit", str(out), "--design", str(number))
    assert code == 0
    with pytest.raises(SystemExit):
        main(["roofline", "smollm2-135m", "--hw", path.strip(), "--format", "int8", "--activations",
              "int8", "--prompt", "512", "--output", "1", "--json"])  # fmt: skip
    predicted = json.loads(capsys.readouterr().out)
    assert predicted["decode_tokens_per_s"] == pytest.approx(
        float(rows[number]["tokens_per_s"]), rel=1e-5
    )
    assert predicted["energy_per_token_j"]["nominal"] == pytest.approx(
        float(rows[number]["energy_j"]), rel=1e-4
    )
    code, _, err = run(capsys, "emit", str(out), "--design", "999999")
    assert code == 2 and err.startswith("qsim: design 999999 is not on the front")


def test_an_fpga_limits_tables_blocks_and_memory(capsys):
    axes = ["--rows", "1", "16", "128", "--bandwidth", "0.8", "--clock", "25", "50", "150"]
    code, out, err = run(capsys, "smollm2-135m", "--fpga", "ecp5-85", *axes, "--json")
    assert code == 0, err
    found = json.loads(out)
    device = FPGAS["ecp5-85"]
    for row in found["front"]:
        record = load_record(row["element"])
        fastest = max(cost.fmax_mhz for cost in record.placed_on("ecp5"))
        assert row["kluts"] * 1000 <= device.luts and row["clock_mhz"] < fastest
        pes = min(cost.luts for cost in record.placed_on("ecp5")) * row["rows"]
        assert row["kluts"] * 1000 > pes + 9000
        assert "energy_j" not in row
    answer = found["answer"]
    near = [row for row in found["front"] if row["class"] == answer["class"]]
    assert answer["tokens_per_s"] == max(row["tokens_per_s"] for row in near)
    code, _, err = run(capsys, "smollm2-135m", "--fpga", "ecp5-85", "--area", "2")
    assert code == 2 and "--fpga and --area exclude each other" in err
    code, _, err = run(capsys, "smollm2-135m", "--fpga", "ice40up5k", "--bandwidth", "0.8")
    assert code == 2 and "or nothing fits ice40up5k" in err
    code, _, err = run(capsys, "smollm2-135m", "--fpga", "ecp5-86")
    assert code == 2 and "unknown FPGA 'ecp5-86'; did you mean 'ecp5-85'?" in err


def test_a_specification_file_has_the_options_as_keys(capsys, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(
        'model = "smollm2-135m"\ntarget = 6\nformats = ["int8"]\nrows = [4]\n'
        "bandwidth = [6.4]\nclock = [200]\n"
    )
    code, out, err = run(capsys, str(path), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["limits"] == {"tokens_per_s": 6.0} and found["designs"]["all"] == 3
    code, out, _ = run(capsys, str(path), "--json", "--target", "5")
    assert json.loads(out)["limits"] == {"tokens_per_s": 5.0}
    path.write_text('model = "smollm2-135m"\ntraget = 10\n')
    code, _, err = run(capsys, str(path))
    assert code == 2 and "line 2: unknown key 'traget'; did you mean 'target'?" in err


def test_what_any_machine_must_have(capsys):
    code, out, _ = run(capsys, "require", "llama-3.2-1b", "--target", "10", "--json")
    assert code == 0
    first = json.loads(out.splitlines()[0])
    # 1.236 G parameters in FP16, embedding left out of reads, and keys and values.
    assert first["gb_per_s"] == pytest.approx(24.9, abs=0.1)
    assert first["gmac_per_s"] == pytest.approx(12.7, abs=0.1)
    code, _, err = run(capsys, "require", "llama-3.2-1b")
    assert (code, err) == (2, "qsim: qsim codesign require needs --target, the tokens/s to reach\n")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["smollm2-135m", "--target", "1e6", *AXES],
         "no design keeps --target 1e+06 tokens/s: the fastest within the other limits has"),
        (["smollm2-135m", "--target", "20", "--area", "0.001", *AXES],
         "the smallest within the other limits takes"),
        (["smollm2-135m", "--element", "int9-mac"], "unknown PE 'int9-mac'"),
        (["smollm2-135m", "--element", "aqlm-2x4"], "aqlm-2x4 computes several outputs"),
        (["smollm2-135m", "--format", "int9"], "unknown format 'int9'"),
        (["smollm2-135m", "--format", "nf4", *AXES], "no PE of the catalog reads a format"),
        (["smollm2-135m", "--memory", "lpddr9"], "unknown memory 'lpddr9'; did you mean"),
        (["smollm2-135m", "--kv", "int3"], "--kv int3 was not measured of smollm2-135m; measured"),
        (["smollm2-135m", "--rows", "4", "4"], "rows has a value twice"),
        (["smollm2-135m", "--clock", "3000", *AXES[:6]], "every clock is above those of the PEs"),
        (["smollm2-135m", "--bandwidth", "1e-300"], "bandwidth has 1e-300, which is not from"),
        (["smollm2-135m", "--clock", "inf"], "clock has inf, which is not from 0.01 to 100000"),
        (["smollm2-135m", "--target", "nan"], "Must be > 0"),
        (["smollm2-135m", "--context", "99999"], "--context 99999 is more than the 8192"),
        (["llama-2-7b", "--target", "20"], "no accuracy table of llama-2-7b; built in are"),
        (["smollm2-136m"], "unknown model 'smollm2-136m'"),
        (["emit", "nowhere"], "nowhere has no codesign.json"),
        (["smollm2-135m", "--accuracy", "nowhere"], "nowhere"),
        (["smollm2-135m", "--target", "0"], "Must be > 0"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2 and err.count("\n") == 1
    assert message in err


def test_a_limit_that_excludes_all_names_the_nearest_design(capsys):
    code, _, err = run(
        capsys, "smollm2-135m", "--target", "40", "--area", "0.02", *AXES, "--format", "int8"
    )
    assert code == 2
    assert "no design keeps --target 40 tokens/s, --area 0.02 mm2" in err
    # The fastest is too large, and the smallest too slow.
    assert "the fastest of all has 30" in err and "the smallest of all takes 0.03" in err


def row(weights, **more):
    values = {
        "weights": weights, "bits_per_weight": 4.0, "kl_nats": 0.1, "kl_se": 0.01,
        "loss_nats": 0.1, "loss_se": None, "top1": 0.9, "tokens": 4096,
    }  # fmt: skip
    return AccuracyRow(**values | more)


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = (row("int4", activations="int8"), row("nf4", kl_se=None))
    write_accuracy(tmp_path / "mine.csv", rows, {"kind": "measured", "text": "a, b: c"})
    found = read_accuracy(tmp_path / "mine.csv")
    assert found.rows == rows and found.model == "mine"
    assert found.about == {"kind": "measured", "text": "a, b: c"}


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "the first line names the columns weights,activations"),
        ("{head}\nint4,int8", "line 2: "),
        (
            "{head}\nint4,int8,float32,float32,,rtn,4,nan,,0,0,1,4096",
            "line 2: int4 has an accuracy",
        ),
        ("{head}\nint4,int8,float32,float32,,rtn,x,0,,0,0,1,4096", "line 2: could not convert"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path, text, message):
    from dataclasses import fields

    head = ",".join(field.name for field in fields(AccuracyRow))
    path = tmp_path / "bad.csv"
    path.write_text(text.format(head=head))
    with pytest.raises(ValueError, match=message):
        read_accuracy(path)


def test_the_store_of_another_model_is_refused(capsys, tmp_path):
    from sim.sweep.store import Store

    Store(tmp_path / "results.sqlite").put("k", point("embedded", "int4"), sample="s")
    code, _, err = run(capsys, "smollm2-135m", "--accuracy", str(tmp_path))
    assert code == 2 and "holds points of embedded, not of smollm2-135m" in err


def test_rows_of_a_store_are_keyed_by_what_is_quantized(tmp_path):
    from sim.sweep.store import Store

    store = Store(tmp_path / "results.sqlite")
    names = ["float32", "int4", "w=int4,a=int8", "w=int8,a=int8,kv=int8", "int4 skip=*.mlp",
             "bitmod-fp4 pe=bitmod-fp4-aligned", "int4 gptq"]  # fmt: skip
    for number, name in enumerate(names):
        store.put(str(number), point("embedded", name), sample="s")
    found = find_accuracy("embedded", [str(tmp_path)]).rows
    keys = [(one.weights, one.activations, one.kv, one.pe, one.method) for one in found]
    assert keys == [
        ("float32", "float32", "float32", "", "rtn"),
        ("int4", "float32", "float32", "", "rtn"),
        ("int4", "int8", "float32", "", "rtn"),
        ("int8", "int8", "int8", "", "rtn"),
        ("bitmod-fp4", "float32", "float32", "bitmod-fp4-aligned", "rtn"),
        ("int4", "float32", "float32", "", "gptq"),
    ]


def point(model, recipe):
    from sim.sweep.result import PointResult

    return PointResult(
        model=model, recipe=recipe, text="t", tokens=512, context=256, sampling="s", scored=510,
        vocab_size=100, kl_mean=0.1, kl_mean_se=0.01, bits_per_weight=4.0, delta_nats=0.1,
        delta_nats_se=0.01, perplexity=9.0, top1_agreement=0.9, kl_p99=1.0, sqnr_db={},
        weight_bytes=1, model_bytes=1, definition="d", tokens_per_s=1.0, wall_s=1.0,
        window_kl=(0.1, 0.1), window_delta_nats=(0.1, 0.1),
    )  # fmt: skip


def test_limits_name_those_that_are_given():
    limits = Limits(tokens_per_s=5.0, kl_nats=0.1)
    assert limits.given == {"tokens_per_s": 5.0, "kl_nats": 0.1}
    assert limits.without("kl_nats").given == {"tokens_per_s": 5.0}


def test_prompts_and_weight_buffers_are_options_and_keys_of_a_file(capsys, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(
        'model = "smollm2-135m"\nformats = ["int8"]\nelements = ["int8-mac"]\nrows = [16]\n'
        "columns = [1, 2]\nbandwidth = [3.2]\nclock = [200]\nweight_buffer = [0, 32]\n"
        "prompt = [32]\nttft = 9\n"
    )
    out = tmp_path / "chip"
    code, text, err = run(capsys, str(spec), "--objective", "ttft", "--out", str(out))
    assert code == 0, err
    assert "TTFT 32" in text
    lines = (out / "front.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
    assert "0" in {row["weight_buffer_kib"] for row in rows}
    assert {row["columns"] for row in rows} == {"1", "2"}
    best = json.loads((out / "codesign.json").read_text())["answer"]
    assert best["ttft_32_s"] == pytest.approx(
        min(float(row["ttft_32_s"]) for row in rows), rel=1e-4
    )
    code, _, err = run(capsys, "smollm2-135m", *AXES, "--ttft", "1")
    assert code == 2 and "--ttft is for prompts; give --prompt with their tokens" in err
    code, _, err = run(capsys, str(spec), "--ttft", "0.0001")
    assert code == 2 and "the shortest prompt" in err
    code, _, err = run(capsys, "smollm2-135m", *AXES, "--prompt", "10000")
    assert code == 2 and "--prompt 10000 is more than the 8192 of smollm2-135m" in err
