"""Many predictions at once equal single ones."""

import itertools

import numpy as np
import pytest

from hw.machine import list_machines, load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.grid import Grid, evaluate
from roofline.time.predict import predict_step
from roofline.workload.memory import (
    memory_use,
)
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def step_ms(one, batch=1, new=1, context=2047, estimate="bound"):
    found = predict_step(one, [Sequences(batch=batch, new=new, context=context)], estimate)
    return 1e3 * found.time_s


def test_nothing_is_expected_to_beat_its_bound():
    formats = ("fp16", "w4a16", "w8a8", "fp8", "nvfp4", "mxfp4", "nf4", "gguf-q4_k_m", "i2_s")
    grid = Grid(
        models=[load_model(name) for name in ("llama-3.1-8b", "gemma-3-4b", "mixtral-8x7b")],
        formats=[parse_format(text) for text in formats],
        machines=[load_machine(name) for name in list_machines()],
        batches=[1, 4, 64],
        contexts=[64, 512, 4096],
    )
    bound, expected = evaluate(grid, "bound"), evaluate(grid, "expected")
    for name in ("prefill_s", "tpot_s"):
        ratio = getattr(expected, name) / getattr(bound, name)
        assert ratio.min() > 1 - 1e-9, (name, np.unravel_index(ratio.argmin(), ratio.shape))


def test_the_grid_is_many_single_predictions():
    machines = [load_machine(n) for n in ("a100-sxm-80gb", "raspberry-pi-5", "v100-sxm2", "b200")]
    formats = [parse_format(t) for t in ("fp16", "w4a16", "nvfp4", "gguf-q4_k_m", "tl2")]
    models = [load_model(n) for n in ("llama-3-8b", "mixtral-8x7b", "gemma-3-4b", "deepseek-v3")]
    grid = Grid(
        models=models, formats=formats, machines=machines, batches=[1, 32], contexts=[64, 4096]
    )
    for estimate in ("bound", "expected"):
        found = evaluate(grid, estimate)
        for i, j, k in np.ndindex(*grid.shape[:3]):
            one = Setup(shape=models[i], format=formats[j], machine=machines[k])
            # Columns of batches and rows of contexts of one setup; machines are not stacked.
            batch, context = np.meshgrid(np.array([1.0, 32.0]), np.array([64.0, 4096.0]))
            token = step_ms(one, batch=batch.T, context=context.T, estimate=estimate)
            assert found.tpot_s[i, j, k] * 1e3 == pytest.approx(token, rel=1e-12)
            prompt = step_ms(one, batch=batch.T, new=context.T, context=0, estimate=estimate)
            assert found.prefill_s[i, j, k] * 1e3 == pytest.approx(prompt, rel=1e-12)
    table = found.table()
    assert len(table) == np.prod(grid.shape)
    row = table.iloc[-1]
    assert (row.model, row.machine, row.context) == ("deepseek-v3", "b200", 4096)
    assert row.tpot_s == found.tpot_s[-1, -1, -1, -1, -1]
    is_large = (table.model == "deepseek-v3") & (table.format == "fp16")
    assert not table[is_large].fits.any() and table.fits.any()


def test_a_grid_needs_positive_sizes():
    with pytest.raises(ValueError, match="each is at least 1"):
        evaluate(Grid(models=[], formats=[], machines=[], batches=[0], contexts=[1]))


def test_a_grid_and_a_request_have_one_rule_for_what_fits():
    shape, fmt, machine = load_model("mixtral-8x7b"), parse_format("w4a16"), load_machine("l4")
    grid = Grid(
        models=[shape], formats=[fmt], machines=[machine], batches=[1, 64], contexts=[512, 8192]
    )
    for estimate in ("bound", "expected"):
        found = evaluate(grid, estimate)
        for (i, batch), (j, length) in itertools.product(
            enumerate(grid.batches), enumerate(grid.contexts)
        ):
            one = setup("mixtral-8x7b", "w4a16", machine="l4")
            use = memory_use(one, batch=batch, length=length, new=length)
            assert found.memory_bytes[0, 0, 0, i, j] == pytest.approx(use.total_bytes)
            assert found.fits[0, 0, 0, i, j] == (use.missing_bytes == 0)
