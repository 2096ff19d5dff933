"""Extra work of llama.cpp's GPU backends: expansion, passes, scores, tiles of experts."""

import pytest

from hw.machine import load_machine
from roofline.kernels.efficiency import fitted
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import LLAMA_CPP, LLAMA_CPP_2024, LLAMA_CPP_MAY_2024
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


def test_prompts_expand_weights_in_memory_once_a_pass():
    machine, shape = load_machine("rtx-4090"), load_model("llama-3-8b")
    fmt = parse_format("gguf-q4_0")
    setup = Setup(shape=shape, format=fmt, machine=machine, engine=LLAMA_CPP_MAY_2024)

    def expanding_s(tokens):
        step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
        (found,) = (op for op in step.operators if op.operator.name == "down")
        # Activations are converted to FP16 and back; weights are read in each pass.
        share = min(1.0, max(0.0, (tokens - 8) / 56))
        converted = 3.0 * found.operator.activation_bytes * share
        again = found.operator.weight_bytes * (-(-tokens // 512) - 1)
        moved = found.operator.traffic_bytes + converted + again
        return float(found.memory_s - moved / (fitted().gpu_memory_share * machine.bytes_per_s))

    # Written and read in FP16: 4 bytes a weight.
    once = 4 * 32 * 14336 * 4096 / (fitted().gpu_memory_share * machine.bytes_per_s)
    # Its own kernels are slower with each token from 9 on, until expanding takes as long.
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


@pytest.mark.parametrize("machine", ["v100-sxm2", "rx-7900-xtx", "mi250x", "rtx-4090"])
def test_one_more_sequence_is_not_a_cliff(machine):
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
    at_peak_s = down.operator.ops / machine.ops_per_s("int8") / fitted().gpu_tile_share
    # 64 operations take four vector instructions of two operations for scaling.
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
        assert rates[0] / rates[1] == pytest.approx(share * fitted().gpu_expert_rate, rel=1e-3)
    # All experts are read again in each pass.
    one, four = (found(tokens, "expert down") for tokens in (512, 2048))
    assert four.memory_s == pytest.approx(4 * one.memory_s, rel=1e-3)


def test_llama_cpp_wrote_scores_of_prompts_until_its_attention_was_fused():
    def attention_s(fmt, tokens, engine=None):
        setup = Setup(
            shape=load_model("llama-3-8b"),
            format=parse_format(fmt),
            machine=load_machine("rtx-3090"),
            engine=engine,
        )
        step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
        return sum(float(op.time_s) for op in step.operators if op.operator.kind == "attention")

    # 32 layers of 32 heads, 24 bytes for each of a pass's scores: passes of 512 see what is before.
    for tokens, scores in ((512, 512 * 512.5), (4096, 4096 * 4097 / 2 * (1 + 512 / 4096))):
        moved = 24 * 32 * 32 * scores / (fitted().gpu_memory_share * 936e9)
        fused = attention_s("fp16", tokens)
        rest = attention_s("gguf-f16", tokens, LLAMA_CPP_2024) - fused
        assert rest == pytest.approx(moved, rel=0.02)
        assert attention_s("gguf-f16", tokens, LLAMA_CPP) == pytest.approx(fused)
