import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from sim.cli import main

SWEEP = ["sweep", "--tokens", "256", "--context", "32", "--group-size", "32"]
#: The formats of the sweep that most tests look at.
FORMATS = ("int8", "int5", "int4", "int3")
#: Enough points that a sweep does not end before it is disturbed.
MANY = [
    x
    for n in range(2, 9)
    for s in ("fp16", "bf16", "fp32", "fp16:asym", "bf16:asym", "fp32:asym")
    for x in ("--format", f"int{n}:{s}")
]
KEYS = {
    "model", "recipe", "text", "tokens", "context", "perplexity", "delta_nats", "delta_nats_se",
    "kl_mean", "kl_p99", "top1_agreement", "bits_per_weight", "model_bytes", "sqnr_db",
    "tokens_per_s", "wall_s",
}  # fmt: skip
#: As a user's shell starts it, with warnings shown as errors.
PYTHON = [sys.executable, "-W", "error", "-c"]
QSIM = [*PYTHON, "from sim.cli import main; main()"]


def qsim(*arguments, program=QSIM[-1], **options):
    return subprocess.run(
        [*PYTHON, program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.fixture(scope="module", autouse=True)
def quick_compiler():
    """Let the programs that these tests start compile quickly, all alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


@pytest.fixture(scope="session")
def sweep(tiny_model, text_file):
    """Return the arguments of a small sweep."""
    return [*SWEEP, "--model", str(tiny_model), "--text", str(text_file)]


@pytest.fixture(scope="module")
def swept(sweep, tmp_path_factory):
    """Return the arguments of a sweep that ran undisturbed, its lines of JSON and its directory."""
    out = tmp_path_factory.mktemp("swept")
    arguments = [*sweep, "--format", ",".join(FORMATS), "--out", str(out)]
    done = qsim(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return arguments, done.stdout, out


def again(capsys, arguments):
    """Run a sweep whose points are in the store, in this process; return what it prints."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_a_sweep_prints_a_table_and_writes_a_report(swept, capsys):
    arguments, _, out = swept
    printed = again(capsys, arguments)
    assert all(f"{name}:g32" in printed for name in FORMATS) and "report.html" in printed
    names = {"results.sqlite", "results.csv", "report.html", "loss.png", "sqnr.png"}
    assert names <= {path.name for path in out.iterdir()}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_json_is_one_object_a_point(swept, capsys):
    arguments, lines, _ = swept
    points = [json.loads(line) for line in lines.splitlines()]
    assert [p["recipe"] for p in points] == ["float32", *(f"{name}:g32" for name in FORMATS)]
    assert all(set(point) >= KEYS for point in points)
    assert again(capsys, [*arguments, "--json"]) == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "fp5"], "qsim: unknown format 'fp5'; did you mean 'fp4'"),
        (
            ["--model", "embeded", "--format", "fp4"],
            "qsim: unknown model 'embeded'; did you mean 'embedded'?",
        ),
        (
            ["--format", "int4", "--group-size", "4096"],
            "qsim: group size 4096 is larger than a row",
        ),
        (["--format", "mxfp4", "--group-size", "64"], "qsim: "),
        (
            ["--format", "int4", "--context", "100000"],
            "qsim: --context 100000 is more than the 128",
        ),
        (["--format", "int4", "--context", "1"], "qsim: --context 1 leaves nothing to score"),
        (
            ["--format", "int4", "--tokens", "0"],
            'qsim: Invalid value "0" for --tokens. Must be > 0.',
        ),
        (["--format", "int4", "--tokens", "9999"], "qsim: text letters.txt has 1000 tokens"),
        (["--format", "int4", "--text", "nowhere.txt"], "qsim: no text file at nowhere.txt"),
        (["--format", "int4", "--skip", "*.layer"], "qsim: pattern '*.layer' of recipe"),
        (["--format", "nf4", "--activations", "int8", "--bit-true"], "qsim: "),
        (["--format", "int4", "--bit-true"], "qsim: "),
        (
            ["--format", "int4", "--pe", "int8-mac"],
            "qsim: int8-mac adds exactly; a sweep without --pe differs by float32 rounding",
        ),
        (
            ["--format", "int4", "--pe", "bitmod-dequantizer"],
            "qsim: bitmod-dequantizer is a part of a PE",
        ),
        (["--format", "int4", "--pe", "fp16-mak"], "qsim: unknown PE 'fp16-mak'; did you mean"),
        (
            ["--format", "bitmod-fp4", "--pe", "bitmod-fp4-column"],
            "qsim: recipe bitmod-fp4:g32 pe=bitmod-fp4-column: the PE reads codes of bitmod-fp4",
        ),
        (
            ["--format", "int4", "--pe", "bitmod-fp4-aligned"],
            "qsim: recipe int4:g32 pe=bitmod-fp4-aligned",
        ),
        (["--format", "int4", "--bit-true", "--pe", "x"], "qsim: --bit-true and --pe x exclude"),
        (["--format", "int4", "--dither-source"], "qsim: the weights of"),
        ([], "qsim: nothing to sweep; give --format fp4"),
        (["--format", "int4", "--kv", "int8,fp8"], 'qsim: Invalid value "int8,fp8" for --kv. give'),
        (
            ["--format", "int4", "--kv", "int8:tensor", "--model", "nowhere"],
            "qsim: KV cache: int8:tensor:fp32 has statistics over all tokens",
        ),
        (
            ["--format", "int4", "--activations", "bitnet-ternary", "--model", "nowhere"],
            "qsim: activations: bitnet-ternary has statistics over all tokens",
        ),
        (["--format", "table(-1,0"], "qsim: "),
        (["--format", "none", "--method", "gptq"], "qsim: --method gptq is for the weights of"),
        (["--kv", "int8", "--method", "gptq"], "qsim: --method gptq is for the weights of"),
        (
            ["--format", "int4", "--method", "gptq(damping=0.1"],
            "qsim: method step 'gptq(damping=0.1' is not of the form NAME",
        ),
        (
            ["--format", "int4", "--calibration", "my.txt"],
            "qsim: --calibration my.txt is read by calibrated methods only; add --method clip",
        ),
        (
            ["--format", "int4", "--method", "clip", "--calibration", "no.txt"],
            "qsim: no text file at no.txt; --calibration takes the path",
        ),
        (["nowhere.toml"], "qsim: no recipe file at nowhere.toml"),
        (["--fromat", "int4"], "qsim: Unknown option"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(sweep, tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    pairs = zip(sweep[1::2], sweep[2::2], strict=True)
    others = [word for pair in pairs if pair[0] not in arguments for word in pair]
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *others, "--out", str(out), *arguments])
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(message)
    assert not out.exists()


def test_no_permission_to_write_is_one_line(sweep, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = qsim(*sweep, "--format", "fp4", "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("qsim: ")
    assert "Traceback" not in done.stderr


def start(arguments):
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {QSIM[-1]}"
    return subprocess.Popen(
        [*PYTHON, program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_points(path, count, process):
    """Wait until the store has ``count`` points."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and len(stored(path)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} points: {process.communicate()}")


def stored(path):
    db = sqlite3.connect(path)
    try:
        return dict(db.execute("SELECT recipe, finished FROM points").fetchall())
    except sqlite3.OperationalError:
        return {}
    finally:
        db.close()


def test_kill_loses_only_the_point_in_flight(sweep, swept, tmp_path):
    """A sweep that was killed ends with the results of one never killed."""
    arguments = [*sweep, "--format", *FORMATS, "--out", tmp_path / "killed"]
    store = tmp_path / "killed" / "results.sqlite"
    process = start(arguments)
    wait_for_points(store, 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    survived = stored(store)
    done = qsim(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert len(survived) >= 2 and survived.items() <= stored(store).items()
    assert numbers(done.stdout) == numbers(swept[1])
    leftovers = [p.name for p in (tmp_path / "killed").iterdir() if p.name.startswith(".logits")]
    assert leftovers == []


def numbers(lines):
    """Points without what differs from run to run."""
    points = {point["recipe"]: point for point in map(json.loads, lines.splitlines())}
    assert len(points) == 5
    return {
        name: {key: value for key, value in point.items() if key not in ("wall_s", "tokens_per_s")}
        for name, point in points.items()
    }


def test_ctrl_c_ends_with_130_and_keeps_what_is_finished(sweep, tmp_path):
    process = start([*sweep, *MANY, "--out", tmp_path])
    wait_for_points(tmp_path / "results.sqlite", 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("qsim: interrupted; ")
    assert "Traceback" not in stderr
    assert 2 <= len(stored(tmp_path / "results.sqlite")) < len(MANY) // 2


def test_two_sweeps_into_one_store_agree(sweep, tmp_path):
    both = [start([*sweep, "--format", "int8,int4", "--out", tmp_path, "--json"]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    (first, _), (second, _) = (process.communicate() for process in both)
    assert len(first.splitlines()) == len(second.splitlines()) == 3
    assert len(stored(tmp_path / "results.sqlite")) == 3


#: Program that sets a limit on file sizes and starts ``qsim``.
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from sim.cli import main; main()
"""


def test_a_full_disk_is_one_line_and_the_store_goes_on(sweep, tmp_path):
    """A limit on file sizes stands for the full disk; the logits of 8 windows don't fit."""
    done = qsim(*sweep, "--format", "fp4", "--out", tmp_path, program=LIMITED)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("qsim: cannot keep the float model's logits in")
    again = qsim(*sweep, "--format", "fp4", "--out", tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_standard_output_is_one_line(swept):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*QSIM, *swept[0], "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr.splitlines()[-1].startswith("qsim: standard output: the disk is full")
    assert done.returncode == 2


def test_a_packed_model_that_does_not_fit_the_disk_is_one_line(tiny_model, tmp_path):
    """Safetensors and tokenizers report a full disk in exceptions of their own."""
    # JAX keeps what it compiles in files, too.
    uncached = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    # The tiny model's tokenizer has no merges, without which llama.cpp loads no file.
    for model, name in ((tiny_model, "int8:g32"), ("embedded", "q8_0")):
        out = tmp_path / "packed"
        arguments = ["quantize", model, "--format", name, "--out", out, "--skip", "*.down_proj"]
        done = qsim(*arguments, program=LIMITED.replace("100_000", "10_000"), env=uncached)
        last = done.stderr.splitlines()[-1]
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert last.startswith(f"qsim: {out}: the ") and list(tmp_path.iterdir()) == []


def test_a_closed_pipe_ends_a_list_without_a_word():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*QSIM, "hw"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


#: Interrupts itself in an import, as Ctrl-C in the first seconds does; NumPy prints what it meets.
EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from sim.cli import main; main()
"""


@pytest.mark.parametrize("module", ["cyclopts", "numpy._core.shape_base", "jax"])
def test_ctrl_c_in_an_import_is_one_line(module):
    done = qsim("sweep", "--format", "fp4", program=EARLY.format(module=module))
    assert (done.returncode, done.stderr.count("\n")) == (130, 1), done.stderr
    assert done.stderr.startswith("qsim: interrupted; ")
