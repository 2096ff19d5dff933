"""Times of one step, against arithmetic that a reader can do."""

import pytest
from _helpers.measured_rows import scored

from hw.machine import load_machine
from roofline.kernels.efficiency import fitted
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.links import all_reduce_s
from roofline.time.predict import predict_step, range_s
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def step_ms(one, batch=1, new=1, context=2047, estimate="bound"):
    found = predict_step(one, [Sequences(batch=batch, new=new, context=context)], estimate)
    return 1e3 * float(found.time_s)


@pytest.mark.parametrize(
    "model,w16,w4,w16_b16,w4_b16",
    [
        ("llama-2-7b", 7.007, 2.293, 14.906, 10.192),
        ("llama-2-13b", 13.429, 4.192, 25.771, 16.534),
        ("llama-2-70b", 67.728, 17.896, 72.665, 22.833),
        ("llama-3-8b", 7.493, 2.412, 9.468, 4.387),
    ],
)
def test_decode_reads_weights_and_cache_once(model, w16, w4, w16_b16, w4_b16):
    for fmt, batch, expected in (
        ("fp16", 1, w16),
        ("w4a16", 1, w4),
        ("fp16", 16, w16_b16),
        ("w4a16", 16, w4_b16),
    ):
        assert step_ms(setup(model, fmt), batch=batch) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    "model,causal",
    [
        ("llama-2-7b", 88.54),
        ("llama-2-13b", 172.08),
        ("llama-2-70b", 916.27),
        ("llama-3-8b", 95.16),
    ],
)
def test_a_prompt_is_bound_by_its_operations(model, causal):
    found = predict_step(setup(model), [Sequences(batch=1, new=2048)])
    compute = sum(float(op.compute_s) for op in found.operators)
    assert 1e3 * compute == pytest.approx(causal, abs=6e-3)
    # The head of one token is memory-bound.
    assert 1e3 * float(found.time_s) > causal and found.bound == "compute"


def test_bounds_are_not_expectations():
    one = setup("llama-3-8b", "w4a16")
    for new, context in ((1, 500), (500, 0)):
        bound = step_ms(one, new=new, context=context)
        assert step_ms(one, new=new, context=context, estimate="expected") > 1.2 * bound
    low, high = range_s(one, 1.0)
    assert low < 1.0 < high


def test_what_the_expectation_adds_is_the_fit():
    one = setup()
    found = predict_step(one, [Sequences(batch=1, new=1, context=0)], "expected")
    starts = sum(float(op.start_s) for op in found.operators)
    assert starts == pytest.approx((5 * 32 + 1) * fitted().gpu_native_start_cycles / 1.41e9)
    qkv = next(op for op in found.operators if op.operator.name == "qkv")
    share = qkv.operator.traffic_bytes / float(qkv.memory_s) / 2039e9
    assert share == pytest.approx(fitted().gpu_memory_share)


def test_tensor_parallel_splits_and_pipelines_do_not():
    one, two = setup("llama-2-70b"), setup("llama-2-70b", machines=2)
    assert step_ms(one) == pytest.approx(2 * step_ms(two))
    pipe = setup("llama-2-70b", machines=2, parallel="pipeline")
    assert step_ms(pipe, estimate="expected") > step_ms(one, estimate="expected")
    # A bound holds however machines share the work.
    assert step_ms(pipe) == step_ms(two)
    found = predict_step(two, [Sequences(batch=1, new=1)], "expected")
    each = all_reduce_s(two.machine, 2, 8192 * 2.0)
    assert float(found.link_s) == pytest.approx(160 * each)
    with pytest.raises(ValueError, match="0 machines"):
        setup(machines=0)


@pytest.mark.parametrize(
    "machine,share", [("a100-sxm-80gb", 1.0), ("rtx-4090", 1.0), ("h100-sxm", 1.0), ("b200", 0.26)]
)
def test_kernels_that_expand_weights_keep_the_rate_of_ampere_but_on_hopper(machine, share):
    machine, fmt = load_machine(machine), parse_format("w4a16")
    peak = weight_path(machine, fmt).ops_per_s
    expected = weight_path(machine, fmt, fastest=False).ops_per_s
    at_most = machine.ops_per_s("fp16", fastest=False)
    assert peak == machine.ops_per_s("fp16")
    assert expected / at_most == pytest.approx(share, rel=0.02)


@pytest.mark.parametrize(
    "machine,low,high",
    # A100: 0.79 to 0.90 (QQQ issue 15, gpustack); H100: 1.02 (gpustack).
    [("a100-sxm-80gb", 0.79, 0.90), ("rtx-4090", 0.79, 0.90), ("h100-sxm", 0.95, 1.05)],
)
def test_prompts_in_w4a16_take_as_long_as_marlin_and_machete_do(machine, low, high):
    def prompt_ms(fmt):
        one = setup("llama-2-7b", fmt=fmt, machine=machine)
        return step_ms(one, new=4096, context=0, estimate="expected")

    assert low < prompt_ms("fp16") / prompt_ms("w4a16") < high


def test_nvfp4_means_the_same_wherever_it_is_asked_for(tmp_path):
    def prompt_ms(fmt, estimate):
        machine, shape = load_machine("b200"), load_model("llama-3.3-70b")
        one = Setup(shape=shape, format=fmt, machine=machine)
        return step_ms(one, new=8192, context=0, estimate=estimate)

    implied, wide = parse_format("nvfp4"), parse_format("nvfp4", activations="fp16")
    for estimate in ("bound", "expected"):
        times = [
            prompt_ms(f, estimate) for f in (implied, parse_format("nvfp4", activations="fp4"))
        ]
        assert times[0] == times[1] < prompt_ms(wide, estimate)
    row = "B200,Llama-3.3-70B,,nvfp4,,1,8192,128,prefill,1"
    # Checkpoints in NVFP4 have a cache in FP8.
    found_ms = prompt_ms(parse_format("nvfp4", kv="fp8"), "expected")
    assert scored(tmp_path, row).expected == pytest.approx(8192e3 / found_ms)
