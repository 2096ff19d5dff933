"""Speed of predictions, and predictions of this machine's speed.

Run with ``pytest tests/benchmarks/test_roofline.py -o addopts= --import-mode=importlib``. The last
one wants a quiet machine: its memory's bandwidth is measured, and then used.
"""

import subprocess
import sys
import time
from pathlib import Path

from hw.machine import list_machines, load_machine, read_machine
from hw.measure import measure
from roofline.model.model_shape import list_models, load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.grid import Grid, evaluate
from roofline.time.predict import predict_step
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences
from sim.deployment.hardware import write_machine
from sim.deployment.own_machine import compare
from sim.model.config import ModelConfig, RopeConfig

FORMATS = ("fp16", "w4a16", "w8a8", "fp8", "nvfp4", "gguf-q4_k_m", "i2_s", "w3a16", "mxfp4", "nf4")
CONFIG = ModelConfig(
    family="llama",
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    layers=30,
    heads=9,
    kv_heads=3,
    head_dim=64,
    max_positions=8192,
    rope=RopeConfig(dim=64, theta=1e5),
)


def test_a_million_points(benchmark):
    grid = Grid(
        models=[load_model(name) for name in list_models()[:20]],
        formats=[parse_format(text) for text in FORMATS],
        machines=[load_machine(name) for name in list_machines()[:50]],
        batches=[2**i for i in range(10)],
        contexts=[2**i for i in range(7, 17)],
    )
    found = benchmark.pedantic(evaluate, args=(grid,), rounds=3)
    assert found.tpot_s.size == 1_000_000
    # 100 points one at a time, to compare the time per point.
    setup = Setup(shape=grid.models[0], format=grid.formats[0], machine=grid.machines[0])
    started = time.perf_counter()
    for _ in range(100):
        for step in (Sequences(batch=1, new=128), Sequences(batch=1, new=1, context=128)):
            predict_step(setup, [step], "expected")
    one_s = (time.perf_counter() - started) / 100
    grid_s = benchmark.stats.stats.median
    benchmark.extra_info["times_faster_than_one_by_one"] = one_s * 1e6 / grid_s
    assert grid_s < 10.0 and one_s * 1e6 > 50 * grid_s


def test_a_command_with_its_figures(benchmark, tmp_path):
    command = [
        str(Path(sys.executable).with_name("qsim")),
        "roofline",
        "llama-3.1-8b",
        "--hw",
        "a100-sxm-80gb",
    ]
    command += ["--format", "w4a16", "--format", "fp16", "--out", str(tmp_path)]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=3)
    assert benchmark.stats.stats.median < 5.0


def test_importing_takes_little_time(benchmark):
    code = (
        "import time; t = time.thread_time()\n"
        "import roofline.time.serving, roofline.time.grid, roofline.measured.validate\n"
        "print(time.thread_time() - t)"
    )

    def import_s():
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout)

    times = [import_s() for _ in range(4)]
    benchmark.extra_info["import_s"] = min(times)
    benchmark.pedantic(import_s, rounds=1)
    assert min(times) < 0.3


def test_this_machine(benchmark, tmp_path):
    path = tmp_path / "this.toml"
    write_machine(benchmark.pedantic(measure, rounds=1), path)
    for row in compare(CONFIG, read_machine(path)):
        benchmark.extra_info[f"{row.phase}_expected_over_measured"] = row.ratio
        assert row.measured_tokens_per_s < 1.1 * row.bound_tokens_per_s
        assert abs(row.ratio - 1.0) < 0.25, f"{row.phase}: {row.ratio:.2f}"
