"""What a sweep costs beside a float evaluation; run with ``--benchmark-only -o addopts=``.

Times are of whole evaluations in one process, float and quantized by turns, so that a busy machine
slows both; the ratio of the best of each is what counts.
"""

import math
import subprocess
import sys
import time

import pytest

from sim.calibration.stream import _block_output
from sim.errors import UserError
from sim.model.tensors import tensor_shapes
from sim.sources.catalog import open_model
from sim.sources.embedded import held_out_text
from sim.sweep.engine import Sweep
from sim.sweep.evaluate import Evaluator
from sim.sweep.recipe import FLOAT32, plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.windows import take_windows

MODELS = {"embedded": 16384, "smollm2-135m-instruct": 8192}
ROUNDS = 3


class Bench:
    """A model on a text, with what loading and evaluating a recipe costs."""

    def __init__(self, model, tokens, directory):
        self.source = open_model(model)
        windows = take_windows(
            held_out_text(), self.source.tokenizer(), tokens=tokens, context=512, spread=False
        )
        self.sweep = Sweep(
            source=self.source,
            text=held_out_text(),
            windows=windows,
            recipes=(),
            directory=directory,
        )
        self.evaluator = Evaluator(self.source.config.vocab_size, windows, directory)

    def seconds(self, recipe):
        """Read every weight again and evaluate, as a point does."""
        started = time.perf_counter()
        run = self.sweep._pass(plan(recipe, self.source.config), {})
        if recipe == FLOAT32:
            self.evaluator.reference(run, lambda _: None)
        else:
            self.evaluator.quantized(run, lambda _: None)
        return time.perf_counter() - started


@pytest.fixture(scope="module", params=MODELS)
def bench(request, tmp_path_factory):
    try:
        made = Bench(request.param, MODELS[request.param], tmp_path_factory.mktemp("bench"))
    except UserError as error:
        pytest.skip(str(error))
    yield made
    made.evaluator.close()


@pytest.mark.parametrize(
    ("recipe", "limit"),
    [
        (make_recipe("fp4"), 1.10),
        (make_recipe("nvfp4"), 1.10),
        (make_recipe("int8", "int8"), 1.5),
        (make_recipe("fp4", "fp4:g128"), 1.5),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_point_costs_little_more_than_a_float_evaluation(bench, benchmark, recipe, limit):
    seconds = {FLOAT32: [], recipe: []}
    for candidate in (FLOAT32, recipe):
        bench.seconds(candidate)  # the first call compiles and is not timed
    compiled_before = _block_output._cache_size()
    for _ in range(ROUNDS):
        for candidate, times in seconds.items():
            times.append(bench.seconds(candidate))
    benchmark.pedantic(bench.seconds, args=(recipe,), rounds=1)
    ratio = min(seconds[recipe]) / min(seconds[FLOAT32])
    benchmark.extra_info |= {"ratio": ratio, "model": bench.source.name, "limit": limit}
    print(f"\n{bench.source.name}, {recipe.name}: {ratio:.3f} of a float evaluation")
    assert _block_output._cache_size() == compiled_before
    assert ratio < limit


def test_another_weight_format_compiles_nothing(bench, benchmark):
    bench.seconds(FLOAT32)
    compiled_before = _block_output._cache_size()
    for name in ("fp4", "int4", "mxfp4"):
        bench.seconds(make_recipe(name))
    benchmark.pedantic(bench.seconds, args=(make_recipe("nf4"),), rounds=1)
    assert _block_output._cache_size() == compiled_before


#: Prints the high water mark of its own memory; that of getrusage counts the parent's too.
PEAK = """
import sys
from sim.cli import main
try:
    main(sys.argv[1:])
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.parametrize("model", MODELS)
def test_peak_memory_is_one_and_a_half_times_a_block_tables_and_a_gigabyte(
    model, benchmark, tmp_path
):
    try:
        source = open_model(model)
    except UserError as error:
        pytest.skip(str(error))
    sizes = {name: 4 * math.prod(shape) for name, shape in tensor_shapes(source.config).items()}
    block = sum(size for name, size in sizes.items() if name.startswith("layers.0."))
    tables = sum(size for name, size in sizes.items() if not name.startswith("layers."))
    arguments = ["sweep", "--model", model, "--format", "fp4", "--tokens", "1024", "--json"]
    command = [sys.executable, "-c", PEAK, *arguments, "--out", str(tmp_path)]

    def run():
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    peak = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= {"peak_bytes": peak, "block_bytes": block}
    print(f"\n{model}: peak {peak / 1e6:.0f} MB, a float32 block {block / 1e6:.0f} MB")
    assert peak < 1.5 * block + tables + 1e9


def test_the_first_command_of_the_readme_takes_less_than_90_s(benchmark, tmp_path):
    command = [sys.executable, "-c", "from sim.cli import main; main()", "sweep", "--format", "fp4"]

    def run():
        started = time.perf_counter()
        with subprocess.Popen(
            [*command, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            first = next(line for line in process.stderr if line.startswith("float32:"))
            first_s = time.perf_counter() - started
            process.stderr.read()
        assert first and process.returncode == 0
        return first_s, time.perf_counter() - started

    first_s, whole_s = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info |= {"first_s": first_s, "whole_s": whole_s}
    print(f"\nfirst result after {first_s:.1f} s, whole command {whole_s:.1f} s")
    assert first_s < 60 and whole_s < 90
