"""``qsim roofline`` and ``qsim hw`` as a user types them."""

import errno
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from hw.machine import read_machine
from hw.measure import Ceiling, Measurement
from roofline.kernels.efficiency import fitted
from sim.cli import main
from sim.deployment.command import RooflineOptions, run_roofline
from sim.deployment.hardware import machine_text
from sim.deployment.tables import scenarios_table
from sim.errors import os_error_text

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BASIC = ["roofline", "llama-3.1-8b", "--hw", "a100-sxm-80gb", "--format", "w4a16"]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


def test_a_table_and_records(capsys):
    code, out, _ = run(capsys, *BASIC, "--hw", "bitmod", "--format", "fp16")
    assert code == 0 and "TPOT" in out
    assert out.startswith("llama-3.1-8b; ") and out.count("bitmod") >= 1
    code, out, _ = run(capsys, *BASIC, "--json")
    (found,) = map(json.loads, out.splitlines())
    assert found["tpot_s"]["bound"] < found["tpot_s"]["low"] < found["tpot_s"]["expected"]
    assert found["limit"]["decode"] == "memory" and found["path"] == "dequantize to fp16"
    assert found["weight_bytes"] == pytest.approx(4.6494e9 + 2 * 525_336_576, rel=1e-3)
    energy = found["energy_per_token_j"]
    assert energy["low"] < energy["nominal"] < energy["high"]


def test_an_expectation_far_from_its_bound_says_what_binds(capsys):
    ask = ["roofline", "--hw", "h100-sxm", "--format", "w4a16", "--model"]
    _, out, _ = run(capsys, *ask, "llama-3.2-1b")
    assert "w4a16: expected 3" in out and "times the bound: starts of kernels" in out
    _, out, _ = run(capsys, "roofline", "--hw", "l4", "--format", "fp16", "--model", "llama-3.1-8b")
    assert "times the bound" not in out


def test_two_names_of_one_format_say_so(capsys):
    code, out, _ = run(
        capsys, "roofline", "llama-3.1-8b", "--hw", "l4", "--format", "int4,w4a16,nf4"
    )
    assert code == 0 and out.count("note: int4 and w4a16 are one format\n") == 1
    assert "nf4 are" not in out


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_name_and_no_number_is_cut_off(width, capsys):
    options = RooflineOptions(
        models=("llama-3.1-8b",),
        machines=("8x jetson-agx-orin-64gb-cpu", "raspberry-pi-5"),
        formats=("w8a8", "fp16"),
        activations="int8-top54",
    )
    scenarios = run_roofline(options)
    Console(width=width).print(scenarios_table(scenarios))
    out = capsys.readouterr().out
    assert "\u2026" not in out and "8x jetson-agx-orin-64gb-cpu" in out and "does not fit" in out
    for one in scenarios:
        (line,) = [
            line
            for line in out.splitlines()
            if f" {one.tpot_s[1] * 1e3:.4g} ({one.tpot_s[0] * 1e3:.4g})" in line
        ]
        assert one.machine in line and one.format.split(",")[0] in line and len(line) <= width
    # The fastest first, and what does not fit last.
    order = sorted(scenarios, key=lambda one: (not one.fits, -one.tokens_per_s))
    places = [out.index(f" {one.tpot_s[1] * 1e3:.4g} (") for one in order]
    assert places == sorted(places)


def test_a_report_with_pictures_and_a_page(capsys, tmp_path):
    out = tmp_path / "deep" / "report"
    code, _, _ = run(capsys, *BASIC, "--hw", "rtx-4090", "--format", "fp16", "--out", str(out))
    assert code == 0
    names = {path.name for path in out.iterdir()}
    drawings = {f"{n}.{s}" for n in ("roofline", "time", "memory", "tpot") for s in ("svg", "png")}
    assert names == drawings | {"report.html"}
    assert not list(out.glob(".*"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_picking_another_machine_in_the_page(capsys, tmp_path):
    run(capsys, *BASIC, "--hw", "rtx-4090", "--out", str(tmp_path))
    page = (tmp_path / "report.html").read_text()
    listen = "<script>const errors = []; window.onerror = (m) => errors.push(m);"
    listen += "console.error = (...w) => errors.push(w.join(' '));</script>"
    pick = """<script>
const pick = document.getElementById("machine"), seen = [];
for (const name of ["a100-sxm-80gb", "rtx-4090"]) {
  pick.value = name; pick.dispatchEvent(new Event("change"));
  seen.push(document.getElementById("summary").innerText);
}
const out = document.createElement("pre"); out.id = "seen";
out.textContent = JSON.stringify({ seen, errors }); document.body.replaceChildren(out);
</script></body>"""
    path = tmp_path / "picked.html"
    path.write_text(page.replace("<script>", listen + "<script>", 1).replace("</body>", pick))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", str(path)]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = json.loads(dom.split('<pre id="seen">')[1].split("</pre>")[0])
    assert found["errors"] == [] and found["seen"][0] != found["seen"][1]
    assert all("time per output token" in text for text in found["seen"])


def test_llm_viewers_numbers(capsys):
    arguments = ["--hw", "nvidia_A100_80G", "--prompt", "2048", "--compat", "llm-viewer", "--json"]
    code, out, _ = run(capsys, "roofline", "llama-2-7b", *arguments)
    prefill, decode = map(json.loads, out.splitlines())
    assert code == 0 and f"{prefill['time_s'] * 1e3:.9g}" == "105.947713"
    assert f"{decode['time_s'] * 1e3:.9g}" == "7.0196915"
    code, out, _ = run(capsys, "roofline", "llama-2-7b", *arguments[:-1])
    assert "105.947713" in out


def test_machines(capsys):
    code, out, _ = run(capsys, "hw")
    assert code == 0 and "raspberry-pi-5" in out and "bitmod" in out
    # Read in their source: bandwidth, peaks and capacity.
    row = next(line.split() for line in out.splitlines() if line.startswith("h100-sxm "))
    assert row[-3:] == ["3350", "79.65", "700"]
    row = next(line.split() for line in out.splitlines() if line.startswith("rtx-4090 "))
    assert row[-3:] == ["1008?", "24?", "450?"]
    row = next(line for line in out.splitlines() if line.startswith("raspberry-pi-5 "))
    assert row.count("?") == len(re.findall(r" \d", row)) > 4
    assert "not checked against its source" in out
    code, out, _ = run(capsys, "hw", "show", "h100-sxm")
    assert "3350" in out and "llm-analysis" in out and "not confirmed" in out
    code, out, _ = run(capsys, "hw", "show", "bitmod")
    assert code == 0 and "1507.7" in out


def test_a_measured_machine_is_a_machine(capsys, tmp_path):
    def ceiling(name, rate):
        return Ceiling(name=name, rates=(rate, 0.9 * rate), setting="1024")

    found = Measurement(
        cpu='Odd "name" \\ here',
        cores=2,
        memory_bytes=16 * 10**9,
        products=tuple(ceiling(n, 1e11) for n in ("float32", "float64", "bfloat16", "int8")),
        read=ceiling("read", 2e10),
        prompt=ceiling("prompt", 8e10),
        vector=ceiling("vector", 1e10),
        libraries="numpy 2",
    )
    path = tmp_path / "box.toml"
    path.write_text(machine_text(found))
    machine = read_machine(path)
    assert machine.unconfirmed == ("dram",)
    path.write_text(machine_text(replace(found, dram="lpddr5")))
    machine = read_machine(path)
    assert machine.dram == "lpddr5" and not machine.unconfirmed
    assert machine.bytes_per_s == 2e10 and machine.ops_per_s("fp32") == 1e11
    assert machine.efficiency.compute.value == pytest.approx(0.76)
    assert machine.efficiency.memory.value == pytest.approx(0.475)
    found = predicted(capsys, "smollm2-135m", "--hw", str(path), "--format", "fp32")
    assert any("power unknown" in note for note in found["notes"])


def test_the_link_is_a_part_of_the_time(capsys):
    pair = [*BASIC[:2], "--hw", "2x a100-sxm-80gb", "--json"]
    found = json.loads(run(capsys, *pair)[1])
    decode = [one for one in found["operators"] if one["phase"] == "decode"]
    assert sum(one["name"] == "link" and one["time_s"] > 0 for one in decode) == 1
    # The token in the middle of the answer, beside the mean of all.
    whole = sum(one["time_s"] for one in decode)
    assert whole == pytest.approx(found["tpot_s"]["expected"], rel=1e-4)


def test_an_accelerator_shows_its_sources(capsys):
    code, out, _ = run(capsys, "hw", "show", "mixpe-w4a8")
    assert code == 0 and "clock_mhz" in out and "simulator of MixPE (arXiv:2411.16158)" in out
    row = next(line for line in out.splitlines() if line.startswith("kv_bits"))
    assert row.split()[1] == "8" and "as activations (not confirmed)" in row


@pytest.mark.parametrize(
    "kv,offered", [("fp16", ["w6a16"]), ("int8", ["w8a16"]), ("fp32", ["w8a16", "--batch", "1"])]
)
def test_the_format_that_is_offered_fits_with_the_cache_that_was_asked_for(capsys, kv, offered):
    request = ["roofline", "llama-2-13b", "--hw", "rtx-4090", "--prompt", "3900", "--kv", kv]
    batch = ["--batch", "4"]
    _, _, err = run(capsys, *request, *batch, "--format", "fp16")
    assert f"--format {' '.join(offered)} fits" in err
    asked = [] if "--batch" in offered else batch
    assert run(capsys, *request, *asked, "--format", *offered)[0] == 0


@pytest.mark.parametrize("name", ["h100-sxm", "edge-8x8"])
def test_a_shown_file_is_one_to_start_from(capsys, tmp_path, name):
    code, out, _ = run(capsys, "hw", "show", name, "--toml")
    path = tmp_path / f"{name}.toml"
    path.write_text(out)
    assert code == 0 and "# title: name for people" in out
    own = predicted(capsys, "llama-2-7b", "--hw", str(path), "--batch", "1", "--format", "w4a8")
    built_in = predicted(capsys, "llama-2-7b", "--hw", name, "--format", "w4a8")
    assert own["tpot_s"] == built_in["tpot_s"]


def test_a_full_disk_is_told_with_its_path(capsys, tmp_path, monkeypatch):
    def full(*_):
        raise full_disk()

    monkeypatch.setattr("sim.deployment.report.replace_files", full)
    code, _, err = run(capsys, *BASIC, "--out", str(tmp_path / "plan"))
    assert code == 2 and err == f"qsim: {tmp_path / 'plan'}: {os_error_text(full_disk())}\n"


def full_disk():
    return OSError(errno.ENOSPC, "No space left on device")


def test_showing_a_machine_imports_no_model_and_no_figure():
    code = "import sim.deployment.hardware, sim.deployment.command, sys;"
    code += "print([x for x in ('jax', 'matplotlib', 'amaranth', 'pandas') if x in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_accelerator_says_what_it_does_to_a_recipe(capsys):
    arguments = ["roofline", "llama-3.1-8b", "--hw", "edge-8x8", "--json", "--format"]
    found = json.loads(run(capsys, *arguments, "w4a8")[1])
    notes = " ".join(found["notes"])
    assert "a head of 16 bits, which mixpe-w4a8 cannot read, on a processor" in notes
    assert "KV cache of 4 bits" in notes
    energy = found["energy_per_token_j"]
    assert energy["static"] > 0 and energy["low"] < energy["nominal"] < energy["high"]
    assert all(0 < one["utilization"] <= 1 for one in found["operators"] if one["name"] != "head")
    # PEs cannot multiply activations in FP16, nor codes that are no INT4.
    code, _, error = run(capsys, *arguments, "w4a16")
    assert (code, error) == (
        2,
        "qsim: edge-8x8: mixpe-w4a8 reads activations in int8, not fp16; give --activations int8\n",
    )
    for name in ("fp4", "mxfp4", "nvfp4", "nf4"):
        code, _, error = run(capsys, *arguments, name, "--activations", "int8")
        assert code == 2 and f"reads codes of int4, not those of {name}" in error
    found = json.loads(run(capsys, *arguments[:3], "bitmod", *arguments[4:], "gguf-f16")[1])
    assert "static energy unknown" in " ".join(found["notes"])


def predicted(capsys, *arguments):
    code, out, err = run(capsys, "roofline", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_draft_makes_tokens_faster_and_needs_memory(capsys):
    big = ["llama-3.1-70b", "--hw", "2x a100-sxm-80gb", "--format", "w4a16"]
    plain = predicted(capsys, *big)
    drafted = predicted(capsys, *big, "--draft", "llama-3.2-1b", "--proposals", "3")
    assert drafted["tpot_s"]["expected"] < 0.8 * plain["tpot_s"]["expected"]
    assert drafted["weight_bytes"] > plain["weight_bytes"] + 5e8
    assert any("3 tokens, each accepted with 0.8: 2.95 tokens" in x for x in drafted["notes"])
    other = predicted(capsys, *big, "--draft", "tinyllama-1.1b")
    assert any("vocabularies of 32000 and 128256" in note for note in other["notes"])


def test_machines_share_a_model_in_three_ways(capsys):
    four = ["mixtral-8x7b", "--hw", "4x a100-sxm-80gb", "--batch", "16"]
    found = {how: predicted(capsys, *four, "--parallel", how) for how in PARALLEL}
    tpot = {how: one["tpot_s"]["expected"] for how, one in found.items()}
    # In a pipeline one machine works at a time.
    assert tpot["tensor"] < tpot["expert"] < tpot["pipeline"]
    assert found["pipeline"]["machine"] == "4x a100-sxm-80gb (pipeline)"
    assert all("at random" in " ".join(one["notes"]) for one in found.values())


PARALLEL = ("tensor", "expert", "pipeline")


def test_attention_in_three_kernels_and_a_machine_that_rests(capsys):
    long = [*BASIC[1:], "--prompt", "8000"]
    fused = predicted(capsys, *long)
    unfused = predicted(capsys, *long, "--unfused-attention", "--utilization", "0.5")
    assert unfused["ttft_s"]["expected"] > 1.2 * fused["ttft_s"]["expected"]
    names = {one["name"] for one in unfused["operators"]}
    assert {"scores", "values", "softmax"} <= names and "attention" not in names
    per_token = unfused["cost_usd_per_mtok"] * unfused["output_tokens_per_s"]
    assert per_token == pytest.approx(2 * fused["cost_usd_per_mtok"] * fused["output_tokens_per_s"])


def test_validation(capsys, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "device,model,params,weight_format,act_format,batch,prompt_len,gen_len,phase,tokens_per_s,"
        "source\ni5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s\n"
        "Foo,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s\n"
    )
    code, out, _ = run(capsys, "roofline", "validate", str(path))
    assert code == 0 and "bound holds" in out and "line 3: unknown machine 'Foo'" in out
    code, out, _ = run(capsys, "roofline", "validate", str(path), "--json")
    found = json.loads(out)
    assert found["rows"][0]["device"] == "core-i5-6500" and len(found["unmatched"]) == 1


@pytest.mark.parametrize("more", [[], ["--chunk", "256"]], ids=["whole", "chunks"])
def test_the_batch_that_is_offered_fits_and_no_larger_one(capsys, more):
    request = ["roofline", "llama-2-7b", "--hw", "rtx-4090", "--prompt", "2000", *more, "--batch"]
    _, _, err = run(capsys, *request, "64")
    offered = int(err.split("--batch ")[-1].split()[0])
    assert run(capsys, *request, str(offered))[0] == 0
    assert run(capsys, *request, str(offered + 1))[0] == 2


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["roofline", "lama-3.1-8b", "--hw", "a100-sxm-80gb"], ["unknown model", "llama-3.1-8b"]),
        (["roofline", "llama-3.1-8b", "--hw", "a1oo-sxm-80gb"], ["unknown machine", "a100-sxm"]),
        (["roofline", "llama-3.1-8b", "--hw", "bitmd"], ["unknown machine", "'bitmod'"]),
        (
            ["roofline", "llama-3.1-70b", "--hw", "rtx-4090", "--batch", "64"],
            ["bytes are missing; --format w2a16 --batch 11 fits"],
        ),
        (["roofline", "llama-3.1-405b", "--hw", "rtx-4090"], ["; no width of weights fits"]),
        (["roofline", "llama-3.1-8b", "--hw", "apple-m2-ulta"], ["'apple-m2-ultra'"]),
        (["roofline", "llama-3.1-8b", "--hw", "4x a100-40bg"], ["'a100-sxm-40gb'"]),
        ([*BASIC[:-1], "w4b16"], ["unknown format 'w4b16'", "w4a16"]),
        (["roofline", "llama-9-8b", "--hw", "a100-sxm-80gb"], ["unknown model", "llama-3-8b"]),
        ([*BASIC, "--batch", "1.5"], ["--batch", "'1.5' is not a whole number"]),
        ([*BASIC, "--threads", "4"], ["--threads", "needs a CPU"]),
        (["roofline", "llama-3.1-8b", "--hw", "bitmod", "--threads", "4"], ["--threads"]),
        (["roofline", "llama-3.1-8b", "--hw", "epyc-7v13", "--threads", "99999"],
         ["epyc-7v13 has 64 cores, at most 128 threads"]),
        (["roofline", "llama-2-7b", "--hw", "nvidia_A100_80G", "--compat", "llm-viewer", "--draft",
          "llama-2-7b"], ["no option like --draft"]),
        (["roofline", "llama-2-7b", "--hw", "nvidia_A100_80G", "--compat", "llm-viewer",
          "--activations", "int8"], ["no option like --activations"]),
        (["roofline", "llama-2-7b", "--hw", "1000x a100-sxm-80gb"],
         ["1000 machines", "from 1 to 999"]),
        ([*BASIC, "--parallel", "pipeline"], ["needs several machines"]),
        (["roofline", "llama-3.1-8b", "--hw", "2x l4", "--parallel", "expert"], ["no experts"]),
        (["roofline", "llama-3.1-8b", "--hw", "bitmod", "--draft", "llama-3.2-1b"],
         ["--draft is for machines; bitmod is an accelerator"]),
        (["roofline", "llama-3.1-8b", "--hw", "bitmod", "--unfused-attention"], ["--unfused-att"]),
        ([*BASIC, "--draft", "llama-3.2-1"], ["unknown model 'llama-3.2-1'", "llama-3.2-1b"]),
        ([*BASIC, "--draft", "tinyllama-1.1b", "--prompt", "3000"], ["context of 2048"]),
        ([*BASIC, "--acceptance", "1.5"], ["--acceptance"]),
        ([*BASIC, "--proposals", "0"], ["--proposals"]),
        ([*BASIC, "--utilization", "0"], ["--utilization"]),
        (["hw", "measure", "--out", "/dev/null/this.toml"], ["/dev/null is a file"]),
        ([*BASIC, "--kv", "int99"], ["int99"]),
        ([*BASIC, "--kv", "aqlm-2x8"], ["'aqlm-2x8' takes", "without a codebook"]),
        ([*BASIC, "--activations", "fp99"], ["activations in 'fp99'"]),
        ([*BASIC, "--batch", "0"], ["--batch"]),
        ([*BASIC, "--prompt", "-3"], ["--prompt"]),
        ([*BASIC, "--output", "0"], ["--output"]),
        ([*BASIC, "--prompt", "131072"], ["131200 tokens", "context of 131072; give smaller"]),
        (["roofline", "llama-2-70b", "--hw", "rtx-4090"], ["bytes are missing", "--format w2a16"]),
        (["roofline", "deepseek-v3", "--hw", "rtx-4090"], ["bytes are missing", "no width"]),
        (["roofline", "llama-2-13b", "--hw", "rtx-4090"], ["bytes are missing", "--format w8a16"]),
        (["roofline", "llama-2-7b", "--hw", "rtx-4090", "--batch", "64", "--prompt", "2000"],
         ["bytes are missing", "--batch"]),
        (["roofline", "--hw", "rtx-4090"], ["model"]),
        (["roofline", "llama-2-7b"], ["hw"]),
        (["roofline", "mixtral-8x7b", "--hw", "bitmod"], ["no experts"]),
        (["roofline", "llama-2-7b", "--hw", "v100-sxm2", "--compat", "llm-viewer", "--format",
          "nf4"], ["only widths", "w4a16"]),
        (["roofline", "llama-2-7b", "--hw", "t4", "--compat", "llm-viewer"], ["no machine 't4'"]),
        ([*BASIC[:-2], "--compat", "llm-viewer", "--out", "x"], ["has no figures; drop --out"]),
        (["roofline", "validate", "nowhere.csv"], ["nowhere.csv", "No such file"]),
        (["hw", "show", "foo"], ["unknown machine 'foo'"]),
        (["hw", "measure", "--out", "x.json"], [".toml"]),
        (["hw", "show", "nowhere.toml"], ["nowhere.toml"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(capsys, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert not list(tmp_path.iterdir())


def test_nothing_to_expect_beats_the_bound(capsys):
    arguments = ["qwen2.5-7b", "--hw", "core-i5-6500", "--format", "gguf-f16", "--prompt", "1"]
    code, out, _ = run(capsys, "roofline", *arguments, "--json")
    tpot_s = json.loads(out)["tpot_s"]
    # The scatter of the fit is as much as the bound is away from the expectation.
    assert code == 0 and tpot_s["expected"] / tpot_s["bound"] < 1 + fitted().cpu_scatter
    assert tpot_s["bound"] == tpot_s["low"] < tpot_s["expected"] < tpot_s["high"]


@pytest.mark.parametrize(
    "options,is_told",
    [
        (["gguf-q4_0"], True),
        (["gguf-q4_0", "--parallel", "pipeline"], False),
        (["w4a16"], False),
    ],
)
def test_how_llama_cpp_shares_a_model_is_reported(capsys, options, is_told):
    code, out, _ = run(
        capsys, "roofline", "llama-3.1-8b", "--hw", "2x rtx-4090", "--json", "--format", *options
    )
    notes = json.loads(out)["notes"]
    assert code == 0 and any("--parallel pipeline" in note for note in notes) is is_told


def test_accelerators_of_others_are_scored(capsys, tmp_path):
    code, out, _ = run(capsys, "roofline", "validate")
    assert code == 0 and "gemmini" in out and "median error" in out
    path = tmp_path / "rows.csv"
    path.write_text("device,m,k,n,cycles\nTPU v1,200,2000,2000,91000\nabacus,1,1,1,1\n")
    code, out, _ = run(capsys, "roofline", "validate", str(path), "--json")
    found = json.loads(out)
    assert code == 0 and found["scores"][0]["accelerator"] == "tpu-v1"
    assert found["rows"][0]["measured_cycles"] == 91000 and len(found["unmatched"]) == 1
