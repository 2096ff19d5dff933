"""A design's machine file gives the same time and energy in qsim roofline as the grid."""

import numpy as np
import pytest

from hw.accelerator import read_accelerator
from roofline.accelerator.serving import accelerator_step
from roofline.model.model_shape import load_model
from sim.codesign.accuracy_file import AccuracyRow
from sim.codesign.grid import Grid, Memory, evaluate, evaluate_prompt, sizes
from sim.codesign.machine_file import machine_of, machine_toml
from sim.codesign.pairs import elements, join
from sim.codesign.search import serving_format, token_work

SHAPE = load_model("smollm2-135m")
GRID = Grid(
    rows=(4, 16, 40),
    columns=(1, 2),
    memories=(Memory(kind="lpddr4", gb_per_s=3.2), Memory(kind="ddr4", gb_per_s=12.8)),
    clocks_mhz=(100.0, 250.0),
    weight_buffers_kib=(0, 16),
)


def row(weights, activations="float32", pe="", kv="float32"):
    return AccuracyRow(
        weights=weights, activations=activations, pe=pe, kv=kv, bits_per_weight=4.0, kl_nats=0.1,
        kl_se=0.01, loss_nats=0.1, loss_se=0.01, top1=0.9, tokens=4096,
    )  # fmt: skip


PAIRS = join(
    [
        row("int4", "int8"), row("int8:channel", "int8", kv="int8"), row("mxfp4", "mxfp4"),
        row("bitmod-fp4", pe="bitmod-fp4-aligned"), row("float32"), row("ternary", "int8"),
    ],
    elements(["mixpe-w4a8-fp16", "int8-mac", "mxfp4-dot", "bitmod-fp4-aligned", "fp16-mac",
              "ternary-16"]),
)  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_roofline_predicts_the_time_and_energy_of_the_grid(tmp_path, pair):
    work = token_work(SHAPE, pair, context=300)
    designs = evaluate(GRID, pair, work)
    assert designs.time_s.shape == designs.energy_j.shape == GRID.shape
    # Every third machine, so that all values of every axis occur.
    for number in range(0, GRID.size, 3):
        one = GRID.machine(number)
        if not designs.is_valid.ravel()[number]:
            continue
        machine = machine_of(one, pair, sizes(one, pair, work), name="chip")
        path = tmp_path / "chip.toml"
        path.write_text(machine_toml(machine, pair))
        read = read_accelerator(path)
        step = accelerator_step(SHAPE, serving_format(pair), read, "decode", batch=1, context=300)
        assert step.time_s == pytest.approx(designs.time_s.ravel()[number], rel=1e-12)
        joules = step.pe_energy_j + step.buffer_energy_j + step.dram_energy_j + step.static_energy_j
        assert joules == pytest.approx(designs.energy_j.ravel()[number], rel=1e-6)
        assert step.bound_s <= step.time_s


PROMPTED = Grid(
    rows=(4, 16),
    columns=(1, 4),
    weight_buffers_kib=(0, 8, 64),
    memories=(Memory(kind="lpddr4", gb_per_s=3.2),),
    clocks_mhz=(100.0,),
)


@pytest.mark.parametrize("pair", PAIRS[:1] + PAIRS[2:3], ids=lambda pair: pair.name)
def test_roofline_predicts_the_time_of_prompts(tmp_path, pair):
    token = token_work(SHAPE, pair, context=300)
    prompt = token_work(SHAPE, pair, context=50, tokens=50)
    found = evaluate_prompt(PROMPTED, pair, token, prompt)
    for number in range(PROMPTED.size):
        one = PROMPTED.machine(number)
        path = tmp_path / "chip.toml"
        machine = machine_of(one, pair, sizes(one, pair, token), name="chip")
        path.write_text(machine_toml(machine, pair))
        fmt = serving_format(pair)
        read = read_accelerator(path)
        if not found.is_valid.ravel()[number]:
            with pytest.raises(ValueError, match="the results of"):
                accelerator_step(SHAPE, fmt, read, "prefill", batch=1, context=50)
            continue
        step = accelerator_step(SHAPE, fmt, read, "prefill", batch=1, context=50)
        assert step.time_s == pytest.approx(found.time_s.ravel()[number], rel=1e-12)
    # Tokens that share a tile of weights are faster where a PE of 16 lanes waits for memory.
    is_faster = found.time_s[:, :, 2] < 0.9 * found.time_s[:, :, 0]
    assert is_faster.any() == (pair.record.lanes > 1)
    assert (found.time_s[:, :, 2] <= found.time_s[:, :, 0]).all()


def test_blocks_of_any_size_are_the_whole_grid():
    pair = PAIRS[0]
    work = token_work(SHAPE, pair, context=300)
    whole = evaluate(GRID, pair, work)
    for most in (1, 2, 5, 8, 100):
        times, first = [], 0
        for start, part in GRID.blocks(most):
            assert start == first and part.size <= most
            first += part.size
            times.append(evaluate(part, pair, work).time_s.ravel())
        assert np.array_equal(np.concatenate(times), whole.time_s.ravel())


def test_a_clock_that_the_pe_does_not_reach_is_not_valid():
    fast = Grid(rows=(4,), columns=(1,), memories=GRID.memories, clocks_mhz=(100.0, 900.0))
    pair = PAIRS[0]
    valid = evaluate(fast, pair, token_work(SHAPE, pair, context=300)).is_valid
    assert valid[..., 0].all() and not valid[..., 1].any()
