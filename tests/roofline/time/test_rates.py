"""Rates: matrix-vector kernels, tiles, threads and caches."""

import pytest

from hw.machine import load_machine
from roofline.kernels.efficiency import LIBRARY_SHARE, expected_factors, fitted
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def step_ms(one, batch=1, new=1, context=2047, estimate="bound"):
    found = predict_step(one, [Sequences(batch=batch, new=new, context=context)], estimate)
    return 1e3 * float(found.time_s)


def test_narrow_weights_come_at_the_rate_of_multiprocessors():
    """A wide memory waits for the multiprocessors, with one token or a few."""
    shape = load_model("llama-3-8b")

    def reached(name, fmt, batch=1):
        machine = load_machine(name)
        one = Setup(shape=shape, format=parse_format(fmt), machine=machine)
        step = predict_step(one, [Sequences(batch=batch, new=1)], "expected")
        (found,) = (op for op in step.operators if op.operator.name == "down")
        share = found.operator.traffic_bytes / float(found.memory_s) / machine.bytes_per_s
        return share / fitted().gpu_memory_share

    assert reached("a100-sxm-80gb", "w4a16") < 0.6
    assert reached("a100-sxm-80gb", "w4a16", batch=9) == pytest.approx(
        reached("a100-sxm-80gb", "w4a16"), rel=0.01
    )
    assert reached("a100-sxm-80gb", "fp16") == pytest.approx(1.0)
    assert reached("rtx-4090", "w4a16") == pytest.approx(1.0)
    # The start of a kernel takes a fixed number of cycles, so its time depends on the clock.
    fast, slow = (
        expected_factors(machine, weight_path(machine, parse_format("fp16"))).start_s
        for machine in map(load_machine, ("rtx-4090", "a100-sxm-40gb"))
    )
    assert slow / fast == pytest.approx(2.52 / 1.41)


@pytest.mark.parametrize("fmt", ["w4a16", "w2a16", "nvfp4", "gguf-q4_k_m", "gguf-f16", "fp16"])
@pytest.mark.parametrize("machine", ["a100-sxm-80gb", "rtx-4090", "jetson-orin-nx-16gb", "h20"])
def test_more_sequences_take_no_less_time(machine, fmt):
    one = setup("llama-3-8b", fmt, machine)
    times = [step_ms(one, batch=batch, estimate="expected") for batch in (1, 4, 8, 9, 16, 63, 64)]
    assert times == sorted(times)


@pytest.mark.parametrize("machine", ["mi50", "p100", "a100-sxm-80gb"])
def test_tiles_are_no_worse_than_vectors_one_after_the_other(machine):
    one = setup("llama-3-8b", "fp16", machine)
    eight, nine, sixteen = (step_ms(one, batch=b, estimate="expected") for b in (8, 9, 16))
    assert eight < nine <= sixteen < 2.05 * eight


@pytest.mark.parametrize(
    "tokens,outputs,share",
    # 64 tiles of 64 x 128 in one wave; 16 x 32 tiles of 128 x 128 in five waves; one token.
    [(128, 4096, 0.98 * 64 / 108), (2048, 4096, 512 / 540), (1, 4096, 1.0)],
)
def test_products_of_prompts_lose_the_edges_of_tiles_and_waves(tokens, outputs, share):
    machine, shape = load_machine("a100-sxm-80gb"), load_model("llama-2-7b")
    assert machine.multiprocessors.value == 108 and shape.hidden == outputs
    setup = Setup(shape=shape, format=parse_format("fp16"), machine=machine)
    step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
    (down,) = (op for op in step.operators if op.operator.name == "down")
    peak = 312e12 * (LIBRARY_SHARE["NVIDIA", "fp16"])
    assert float(down.compute_s) == pytest.approx(down.operator.ops / peak / share)


@pytest.mark.parametrize("name,fill,least", [("graviton3", 2, 1 / 2), ("xeon-8480plus", 16, 1 / 8)])
def test_one_token_fills_no_matrix_instruction(name, fill, least):
    setup = Setup(
        shape=load_model("llama-3-8b"), format=parse_format("w8a8"), machine=load_machine(name)
    )

    def products_s(batch):
        step = predict_step(setup, [Sequences(batch=batch, new=1)], "expected")
        return next(float(op.compute_s) for op in step.operators if op.operator.name == "o")

    # ``fill`` tokens share instructions and take ``fill * least`` times as long as one token.
    assert products_s(1) * least * fill == pytest.approx(products_s(fill))
    assert products_s(2 * fill) == pytest.approx(2 * products_s(fill))


def test_threads_share_a_processor():
    slow, fast = (
        setup("llama-3-8b", "gguf-q4_0", "epyc-7v13", threads=1),
        setup("llama-3-8b", "gguf-q4_0", "epyc-7v13", threads=16),
    )
    times = [step_ms(one, estimate="expected") for one in (slow, fast)]
    assert 4 < times[0] / times[1] < 16
    prompts = [step_ms(one, new=512, context=0) for one in (slow, fast)]
    assert prompts[0] == pytest.approx(16 * prompts[1], rel=0.01)
    with pytest.raises(ValueError, match="0 threads"):
        setup(threads=0)


def test_two_of_four_is_faster_where_the_machine_has_that():
    times = {
        (hw, text): step_ms(
            Setup(
                shape=load_model("llama-2-7b"),
                format=parse_format(text, activations="int8"),
                machine=load_machine(hw),
            ),
            new=4096,
            context=0,
        )
        for hw in ("a100-sxm-80gb", "t4")
        for text in ("int8", "int8-2-of-4")
    }
    assert 1.7 < times["a100-sxm-80gb", "int8"] / times["a100-sxm-80gb", "int8-2-of-4"] < 2.0
    assert times["t4", "int8"] == pytest.approx(times["t4", "int8-2-of-4"], rel=1e-9)
    # 5 bits a weight with positions, where there were 8, and a scale for 128.
    read = parse_format("int8-2-of-4").tensor_bytes("up", 4096, 4096, load_model("llama-2-7b"))
    assert read * 8 / 4096**2 == 5.125


def test_activations_that_are_zero_read_no_weights():
    dense, sparse = (
        Setup(
            shape=load_model("llama-2-7b"),
            format=parse_format("int8", activations=text),
            machine=load_machine("a100-sxm-80gb"),
        )
        for text in ("int8", "int8-top50")
    )
    for batch, least, most in ((1, 1.5, 2.0), (2, 1.1, 4 / 3), (16, 1.0, 1.001)):
        step = [Sequences(batch=batch, new=1, context=10)]
        times = [predict_step(each, step, "expected").time_s for each in (dense, sparse)]
        assert least <= times[0] / times[1] < most
    bounds = [predict_step(each, step, "bound").time_s for each in (dense, sparse)]
    assert 1.5 < bounds[0] / bounds[1] < 2.0
    with pytest.raises(ValueError, match="top-K keeps 1 to 99 percent"):
        parse_format("int8", activations="int8-top0")


def test_a_processors_bound_spares_what_its_last_cache_keeps():
    one = setup(machine="epyc-7v13")
    step = predict_step(one, [Sequences(batch=1, new=1, context=2047)])
    read = sum(float(op.operator.essential_bytes) for op in step.operators)
    # 256 MiB, at 204.8 GB/s.
    assert sum(float(op.memory_s) for op in step.operators) == pytest.approx(
        (read - 256 * 2**20) / 204.8e9
    )
    small = setup("smollm2-135m", "w4a16", machine="epyc-7v13")
    step = predict_step(small, [Sequences(batch=1, new=1, context=100)])
    assert step.bound == "compute" and all(float(op.memory_s) == 0 for op in step.operators)
    assert step_ms(small, estimate="expected") > 1e3 * float(step.time_s)


def test_a_hybrids_bound_counts_its_small_cores_where_there_are_threads_for_them():
    def bound_and_expected(threads):
        one = setup("llama-3-8b", "gguf-q8_0", machine="core-i7-13700h", threads=threads)
        return (step_ms(one, new=512, context=0, estimate=name) for name in ("bound", "expected"))

    (few, few_expected), (every, every_expected) = map(bound_and_expected, (6, 14))
    # 6 cores at 4.4 GHz do 128 operations a cycle, 8 at 3.7 GHz do 64.
    assert few / every == pytest.approx(1 + 8 * 3.7 * 64 / (6 * 4.4 * 128), rel=0.01)
    assert every_expected == pytest.approx(few_expected, rel=0.01)
    (ten, _), (all_threads, _) = map(bound_and_expected, (10, None))
    assert few > ten > every == all_threads
