"""Times, memory, energy and requests, against arithmetic that a reader can do."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from hw.machine import list_machines, load_machine
from roofline.kernels.efficiency import FILE, LIBRARY_SHARE, expected_factors, fitted
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import LLAMA_CPP_MAY_2024
from roofline.runtime.serving_format import parse_format
from roofline.time.energy import step_energy
from roofline.time.grid import Grid, evaluate
from roofline.time.links import PCIE_LATENCY_US, all_gather_s, all_reduce_s, send_s
from roofline.time.predict import predict_step, range_s
from roofline.time.serving import (
    Request,
    Speculation,
    expected_tokens,
    outcome,
    pipelined_s,
    predict,
    speculative_tpot_s,
)
from roofline.workload.memory import (
    equal_context,
    kv_bytes_per_sequence,
    largest_batch,
    memory_use,
    weight_bytes,
)
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


def test_the_fit_is_what_is_committed(tmp_path):
    from roofline.measured.calibration import write

    write(tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == FILE.read_text()


def test_the_fit_meets_the_points_of_the_gpu():
    from roofline.measured.calibration import GEMV_BF16, GEMV_W2A8

    numbers = fitted()
    rate = numbers.gpu_memory_share * 1555e9
    errors = [
        abs(numbers.gpu_native_start_cycles / 1.41e3 + rows * columns * 2e6 / rate - time_us)
        / time_us
        for rows, columns, time_us in GEMV_BF16
    ]
    assert max(errors) == pytest.approx(numbers.gpu_scatter, rel=1e-2) and max(errors) < 0.1
    narrow = numbers.gpu_expanded_bytes_per_cycle * 108 * 1.41e9
    for rows, columns, time_us in GEMV_W2A8:
        found = numbers.gpu_dequantize_start_cycles / 1.41e3 + rows * columns * 0.25e6 / narrow
        assert found == pytest.approx(time_us, rel=1e-3)


def test_narrow_weights_come_at_the_rate_of_multiprocessors():
    """A wide memory waits for them, in products of a few tokens as of one."""
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
    # Starts take cycles.
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


def test_prompts_expand_weights_in_memory_once_a_pass():
    machine, shape = load_machine("rtx-4090"), load_model("llama-3-8b")
    fmt = parse_format("gguf-q4_0")
    setup = Setup(shape=shape, format=fmt, machine=machine, engine=LLAMA_CPP_MAY_2024)

    def expanding_s(tokens):
        step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
        (found,) = (op for op in step.operators if op.operator.name == "down")
        # Halves of float32 values for the library, and back; weights are read again in each pass.
        share = min(1.0, max(0.0, (tokens - 8) / 56))
        converted = 3.0 * found.operator.activation_bytes * share
        again = found.operator.weight_bytes * (-(-tokens // 512) - 1)
        moved = found.operator.traffic_bytes + converted + again
        return float(found.memory_s - moved / (fitted().gpu_memory_share * machine.bytes_per_s))

    # Written and read as halves: 4 bytes a weight.
    once = 4 * 32 * 14336 * 4096 / (fitted().gpu_memory_share * machine.bytes_per_s)
    # Its own kernels are slower with each token from 9 on, until expanding is no worse.
    for tokens, passes in (
        (1, 0),
        (8, 0),
        (36, 0.5),
        (63, 55 / 56),
        (64, 1),
        (512, 1),
        (513, 2),
        (2048, 4),
    ):
        assert expanding_s(tokens) == pytest.approx(passes * once, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("machine", ["mi50", "p100", "a100-sxm-80gb"])
def test_tiles_are_no_worse_than_vectors_one_after_the_other(machine):
    one = setup("llama-3-8b", "fp16", machine)
    eight, nine, sixteen = (step_ms(one, batch=b, estimate="expected") for b in (8, 9, 16))
    assert eight < nine <= sixteen < 2.05 * eight


@pytest.mark.parametrize("machine", ["v100-sxm2", "rx-7900-xtx", "mi250x", "rtx-4090"])
def test_one_more_sequence_is_no_cliff(machine):
    one = setup("llama-3-8b", "gguf-q4_k_m", machine)
    times = [step_ms(one, batch=batch, estimate="expected") for batch in (62, 63, 64)]
    assert times == sorted(times) and times[-1] < 1.03 * times[0]


@pytest.mark.parametrize(
    "machine,is_int8",
    [("rtx-4090", True), ("p40", True), ("v100-sxm2", False), ("rx-7900-xtx", False)],
)
def test_llama_cpp_multiplies_prompts_in_int8_where_it_has_kernels(machine, is_int8):
    machine, fmt = load_machine(machine), parse_format("gguf-q4_k_m")
    path = weight_path(machine, fmt, fastest=False)
    assert (path.operand == "int8", path.is_library) == (is_int8, not is_int8)
    assert path.expanded_bytes == (0.0 if is_int8 else 4.0)
    has_halves = machine.ops_per_s("fp16") is not None
    old = weight_path(machine, fmt, LLAMA_CPP_MAY_2024, fastest=False)
    assert old.is_library is has_halves
    assert weight_path(machine, parse_format("gguf-f16"), fastest=False).operand != "int8"


@pytest.mark.parametrize("name,share", [("rtx-4090", 1.0), ("a100-sxm-80gb", 0.25), ("t4", 0.5)])
def test_vector_units_scale_the_sums_of_products_in_int8(name, share):
    machine = load_machine(name)
    setup = Setup(
        shape=load_model("llama-3-8b"), format=parse_format("gguf-q4_k_m"), machine=machine
    )
    step = predict_step(setup, [Sequences(batch=1, new=512)], "expected")
    (down,) = (op for op in step.operators if op.operator.name == "down")
    at_peak_s = (
        down.operator.ops / machine.ops_per_s("int8") / fitted().cpu_dequantize_compute_share
    )
    # Four slots of an instruction, of two operations, for 64 operations.
    scaling = 8 * machine.vector_ops_per_s / machine.ops_per_s("int8")
    assert share == pytest.approx(min(1.0, scaling), rel=0.01)
    assert at_peak_s / float(down.compute_s) == pytest.approx(share, rel=0.01)


def test_experts_fill_their_tiles_in_no_pass():
    setup = Setup(
        shape=load_model("mixtral-8x7b"),
        format=parse_format("gguf-q4_k_m"),
        machine=load_machine("rtx-4090"),
    )

    def found(tokens, name):
        step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
        return next(op for op in step.operators if op.operator.name == name)

    # A quarter of 512 tokens fills a tile of 128 for each expert, and one of 384 does not.
    for tokens, share in ((512, 1.0), (384, 96 / 128), (2048, 1.0)):
        down, rest = found(tokens, "expert down"), found(tokens, "o")
        rates = [op.operator.ops / op.compute_s for op in (down, rest)]
        assert rates[0] / rates[1] == pytest.approx(share, rel=1e-3)
    # All experts are read again in each pass.
    one, four = (found(tokens, "expert down") for tokens in (512, 2048))
    assert four.memory_s == pytest.approx(4 * one.memory_s, rel=1e-3)


@pytest.mark.parametrize(
    "tokens,outputs,share",
    # One wave of 64 tiles of 64 x 128; 16 x 32 tiles of 128 x 128 in five waves; a token alone.
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


def test_llama_cpp_writes_scores_of_prompts():
    def attention_s(fmt, tokens):
        setup = Setup(
            shape=load_model("llama-3-8b"),
            format=parse_format(fmt),
            machine=load_machine("rtx-3090"),
        )
        step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
        return sum(float(op.time_s) for op in step.operators if op.operator.kind == "attention")

    # 32 layers of 32 heads, 24 bytes for each of a pass's scores: passes of 512 see what is before.
    for tokens, scores in ((512, 512 * 512.5), (4096, 4096 * 4097 / 2 * (1 + 512 / 4096))):
        moved = 24 * 32 * 32 * scores / (fitted().gpu_memory_share * 936e9)
        rest = attention_s("gguf-f16", tokens) - attention_s("fp16", tokens)
        assert rest == pytest.approx(moved, rel=0.02)


@pytest.mark.parametrize("name,fill,least", [("graviton3", 2, 1 / 2), ("xeon-8480plus", 16, 1 / 8)])
def test_one_token_fills_no_matrix_instruction(name, fill, least):
    setup = Setup(
        shape=load_model("llama-3-8b"), format=parse_format("w8a8"), machine=load_machine(name)
    )

    def products_s(batch):
        step = predict_step(setup, [Sequences(batch=batch, new=1)], "expected")
        return next(float(op.compute_s) for op in step.operators if op.operator.name == "o")

    # Each token costs the same until tokens share instructions, then as many as fill one cost one.
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


def test_prompts_go_through_llama_cpps_gpus_in_passes_of_512():
    def prefill_s(one, tokens):
        return outcome(one, Request(prompt=tokens), "expected").prefill_s

    def step_s(one, tokens):
        return 1e-3 * step_ms(one, new=tokens, context=0, estimate="expected")

    layers = {"machine": "rtx-4090", "machines": 4, "parallel": "pipeline"}
    gguf, dense = setup(fmt="gguf-q4_0", **layers), setup(fmt="w4a16", **layers)
    assert prefill_s(gguf, 512) == pytest.approx(step_s(gguf, 512))
    # Two batches of four passes through four stages: one whole pass, and three quarters.
    assert prefill_s(gguf, 4096) == pytest.approx(step_s(gguf, 4096) / 8 * 2 * (1 + 3 / 4))
    assert prefill_s(gguf, 1024) == pytest.approx(step_s(gguf, 1024) / 2 * (1 + 1 / 4))
    assert prefill_s(dense, 4096) == pytest.approx(step_s(dense, 4096))
    rows = setup(fmt="gguf-q4_0", machine="rtx-4090", machines=4)
    assert prefill_s(rows, 4096) == pytest.approx(step_s(rows, 4096))


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
    "machine,share", [("a100-sxm-80gb", 1.0), ("rtx-4090", 1.0), ("h100-sxm", 0.54), ("b200", 0.26)]
)
def test_kernels_that_expand_weights_keep_the_rate_of_ampere(machine, share):
    machine, fmt = load_machine(machine), parse_format("w4a16")
    peak = weight_path(machine, fmt).ops_per_s
    expected = weight_path(machine, fmt, fastest=False).ops_per_s
    at_most = machine.ops_per_s("fp16", fastest=False)
    assert peak == machine.ops_per_s("fp16")
    assert expected / at_most == pytest.approx(share, rel=0.02)


def test_messages():
    machine = load_machine("h100-sxm")
    # 18 NVLinks of 25 GB/s in one direction, of which messages get 20.
    rate, latency = 18 * 20e9, 1e-6
    assert all_reduce_s(machine, 4, 1e6) == pytest.approx(5e-6 + 6 * latency + 1.5 * 1e6 / rate)
    assert all_gather_s(machine, 4, 1e6) == pytest.approx(5e-6 + 3 * latency + 0.75e6 / rate)
    assert send_s(machine, 1e6) == pytest.approx(latency + 1e6 / rate)
    assert all_reduce_s(machine, 1, 1e6) == all_gather_s(machine, 1, 1e6) == 0
    # PCIe 4.0 x16 has 32 GB/s in one direction, and messages get three quarters.
    slower = PCIE_LATENCY_US * 1e-6
    assert send_s(load_machine("l40s"), 1e6) == pytest.approx(slower + 1e6 / 24e9)
    # A bridge connects two A6000, and four talk over PCIe.
    a6000 = load_machine("rtx-a6000")
    assert all_gather_s(a6000, 2, 2e6) == pytest.approx(5e-6 + latency + 1e6 / (0.8 * 56e9))
    assert all_gather_s(a6000, 4, 4e6) == pytest.approx(5e-6 + 3 * (slower + 1e6 / 24e9))
    # NCCL took 13.6 us for 4 RTX PRO 6000 and 54.2 us for 8 RTX 3090.
    assert all_gather_s(a6000, 4, 8192.0) == pytest.approx(13.6e-6, rel=0.1)
    assert all_reduce_s(load_machine("rtx-3090"), 8, 8.0) == pytest.approx(54.2e-6, rel=0.12)


def test_memory_and_the_largest_batch():
    one = setup("llama-2-7b")
    assert weight_bytes(one.shape, one.format) == 2 * 6_738_415_616
    use = memory_use(one, batch=3, length=1000, new=1)
    assert use.kv_bytes == 3 * 1000 * 524288 and use.missing_bytes == 0
    batch = largest_batch(one, length=2048, usable=1.0)
    for size, fits in ((batch, True), (batch + 1, False)):
        use = memory_use(one, batch=size, length=2048, new=1)
        per_sequence = memory_use(one, batch=1, length=2048, new=1).activation_bytes
        need = use.weight_bytes + use.kv_bytes + size * per_sequence
        assert (need <= 80 * 2**30) is fits
    assert largest_batch(setup("llama-2-70b"), length=1) == 0
    assert equal_context(one) == pytest.approx(13_476_831_232 / 524288)
    experts = setup("mixtral-8x7b")
    assert weight_bytes(experts.shape, experts.format) == pytest.approx(2 * 46_702_792_704)


def test_energy_of_weights_is_bytes_times_energy_per_bit():
    one = setup()
    found = step_energy(one, predict_step(one, [Sequences(batch=1, new=1)], "expected"))
    # 13.214 GB at 6 pJ a bit.
    assert found.weights_off_chip.nominal_j == pytest.approx(0.634, abs=5e-4)
    assert found.compute.nominal_j < 0.02 * found.total.nominal_j
    assert found.total.low_j < found.total.nominal_j < found.total.high_j
    assert found.total.nominal_j == pytest.approx(sum(p.nominal_j for p in found.parts.values()))
    assert found.limit_j == pytest.approx(400 * step_ms(one, context=0, estimate="expected") / 1e3)


def test_a_request_sums_every_step():
    one, request = setup("llama-3-8b", "w4a16"), Request(batch=4, prompt=100, output=10)
    found = outcome(one, request, "expected")
    steps = [step_ms(one, batch=4, context=100 + i, estimate="expected") for i in range(10)]
    assert found.tpot_s == pytest.approx(np.mean(steps) / 1e3)
    assert found.ttft_s == pytest.approx(
        step_ms(one, batch=4, new=100, context=0, estimate="expected") / 1e3
    )
    whole = found.prefill_s + 10 * found.tpot_s
    assert found.output_tokens_per_s == pytest.approx(40 / whole)


def test_chunks_read_weights_once_each():
    one = setup("llama-3-8b")
    whole = outcome(one, Request(prompt=1000), "bound").prefill_s
    chunked = outcome(one, Request(prompt=1000, chunk=100), "bound").prefill_s
    pieces = [step_ms(one, new=100, context=100 * i) for i in range(10)]
    assert chunked == pytest.approx(sum(pieces) / 1e3) and chunked > whole


def test_cost_is_price_over_rate():
    found = predict(setup(), Request(batch=8))
    price = load_machine("a100-sxm-80gb").price_usd_per_hour.value
    expected = price / (found.expected.output_tokens_per_s * 3600) * 1e6
    assert found.cost_usd_per_mtok() == pytest.approx(expected)
    assert found.cost_usd_per_mtok(0.5) == pytest.approx(2 * expected)
    assert predict(setup(machine="rtx-4090", fmt="w4a16"), Request()).cost_usd_per_mtok() is None


def test_speculation():
    assert expected_tokens(4, 0.8) == pytest.approx(sum(0.8**i for i in range(5)))
    assert (expected_tokens(3, 1.0), expected_tokens(3, 0.0)) == (4.0, 1.0)
    big, small = setup("llama-2-70b", "w4a16"), setup("tinyllama-1.1b", "w4a16")
    plain = outcome(big, Request(), "expected").tpot_s
    speculation = Speculation(draft=small, proposals=4, acceptance=0.8)
    fast = speculative_tpot_s(big, speculation, Request())
    assert plain / 3.3616 < fast < plain
    found, without = (predict(big, Request(), speculation=one) for one in (speculation, None))
    assert found.expected.tpot_s == fast > found.bound.tpot_s
    assert found.expected.ttft_s > without.expected.ttft_s
    drafted = weight_bytes(small.shape, small.format)
    assert found.memory.weight_bytes == without.memory.weight_bytes + drafted
    assert found.largest_batch < without.largest_batch
    # The weights are read once for 3.4 tokens, but the draft's for each proposal.
    assert found.energy_per_token_j < without.energy_per_token_j
    check = step_energy(big, found.expected.decode).compute.nominal_j / 3.3616
    assert check < found.decode_energy.compute.nominal_j < 1.3 * check
    with pytest.raises(ValueError, match="from 0 to 1"):
        expected_tokens(4, 1.5)


def test_a_pipeline_fills():
    assert pipelined_s(8.0, stages=4, micro_batches=1) == 8.0
    assert pipelined_s(8.0, stages=4, micro_batches=5) == 16.0


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
    read = {text: parse_format(text).tensor_bytes("up", 4096, 4096) for text in ("int8-2-of-4",)}
    assert read["int8-2-of-4"] * 8 / 4096**2 == 5.125


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


@pytest.mark.parametrize("name", ["batch", "prompt", "output", "chunk"])
def test_sizes_are_positive(name):
    with pytest.raises(ValueError, match=f"{name} is 0; at least 1"):
        Request(**{name: 0})


def test_a_chunk_longer_than_the_prompt_is_the_prompt():
    found = [predict(setup(), Request(prompt=512, chunk=chunk)) for chunk in (None, 100_000)]
    assert found[0].largest_batch == found[1].largest_batch


def test_a_request_beyond_the_context():
    with pytest.raises(ValueError, match="context of 4096 tokens"):
        predict(setup(), Request(prompt=4000, output=97))


def test_nothing_is_expected_to_beat_its_bound():
    formats = ("fp16", "w4a16", "w8a8", "fp8", "nvfp4", "nf4", "gguf-q4_k_m", "gguf-q8_0", "i2_s")
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
    formats = [parse_format(t) for t in ("fp16", "w4a16", "fp8", "gguf-q4_k_m", "tl2")]
    models = [load_model(n) for n in ("llama-3-8b", "mixtral-8x7b", "gemma-3-4b", "deepseek-v3")]
    grid = Grid(
        models=models, formats=formats, machines=machines, batches=[1, 32], contexts=[64, 4096]
    )
    for estimate in ("bound", "expected"):
        found = evaluate(grid, estimate)
        for place in np.ndindex(*grid.shape):
            i, j, k, b, c = place
            one = Setup(shape=models[i], format=formats[j], machine=machines[k])
            size, length = grid.batches[b], grid.contexts[c]
            assert found.tpot_s[place] * 1e3 == pytest.approx(
                step_ms(one, batch=size, context=length, estimate=estimate), rel=1e-12
            )
            assert found.prefill_s[place] * 1e3 == pytest.approx(
                step_ms(one, batch=size, new=length, context=0, estimate=estimate), rel=1e-12
            )
    table = found.table()
    assert len(table) == np.prod(grid.shape)
    row = table.iloc[-1]
    assert (row.model, row.machine, row.context) == ("deepseek-v3", "b200", 4096)
    assert row.tpot_s == found.tpot_s[-1, -1, -1, -1, -1]
    is_large = (table.model == "deepseek-v3") & (table.format == "fp16")
    assert not table[is_large].fits.any() and table.fits.any()


def test_a_grid_needs_positive_sizes():
    with pytest.raises(ValueError, match="at least 1 each"):
        evaluate(Grid(models=[], formats=[], machines=[], batches=[0], contexts=[1]))


def test_importing_needs_neither_jax_nor_amaranth():
    code = (
        "import time; t = time.thread_time()\n"
        "import roofline.time.serving, roofline.time.grid, roofline.measured.validate, sys\n"
        "print(time.thread_time() - t, 'jax' in sys.modules, 'amaranth' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    times = [float(run.stdout.split()[0]) for run in runs]
    assert all(run.stdout.split()[1:] == ["False", "False"] for run in runs)
    assert min(times) < 0.3


def test_a_price_wants_some_use_and_a_request_whole_sequences():
    prediction = predict(setup(), Request(batch=1, prompt=16, output=16))
    assert prediction.cost_usd_per_mtok(0.5) == pytest.approx(2 * prediction.cost_usd_per_mtok())
    for utilization in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="more than 0 and at most 1"):
            prediction.cost_usd_per_mtok(utilization)
    for batch in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"batch is .*; at least 1"):
            Request(batch=batch)


def test_machines_beyond_the_heads_of_a_cache_hold_copies():
    def use(model, machines):
        return memory_use(setup(model, machines=machines), batch=4, length=1000, new=1)

    # Eight heads go to eight machines; sixteen have each of them twice.
    assert use("llama-3-70b", 8).kv_bytes == use("llama-3-70b", 1).kv_bytes
    assert use("llama-3-70b", 16).kv_bytes == 2 * use("llama-3-70b", 1).kv_bytes
    assert use("deepseek-v3", 8).kv_bytes == 8 * use("deepseek-v3", 1).kv_bytes

    def attention_s(model, machines, estimate):
        step = [Sequences(batch=64, new=1, context=8000)]
        found = predict_step(setup(model, machines=machines), step, estimate)
        return sum(float(op.memory_s) for op in found.operators if op.operator.kind == "attention")

    for model, scaling in (("llama-3-70b", 8.0), ("deepseek-v3", 1.0)):
        one, many = (attention_s(model, count, "expected") for count in (1, 16))
        assert one / many == pytest.approx(scaling, rel=1e-6)
        # Machines may share a sequence by its tokens, so that a bound divides all the same.
        one, many = (attention_s(model, count, "bound") for count in (1, 16))
        assert one / many == pytest.approx(16)


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


def test_the_context_whose_cache_equals_the_weights_knows_windows():
    for name in ("llama-2-7b", "gemma-3-27b", "gpt-oss-20b"):
        one = setup(name)
        cache = kv_bytes_per_sequence(one.shape, one.format, round(equal_context(one)))
        assert cache == pytest.approx(weight_bytes(one.shape, one.format), rel=1e-3)
    # 32 layers of 4096 tokens are 0.5 GB.
    assert equal_context(setup("mistral-7b")) == float("inf")
