"""Loops over one token on processors."""

import pytest

from hw.machine import load_machine
from roofline.kernels.efficiency import fitted
from roofline.kernels.loops import (
    GATHER,
    LOOP_SHARE,
    NEON_K16,
    UNPACK,
    loop_instructions,
    shares_unpacking,
)
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import IK_LLAMA_CPP, LLAMA_CPP, LLAMA_CPP_2023, LLAMA_CPP_ARMV8
from roofline.runtime.gguf_mixes import MIXES, TYPE_BITS
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def products_s(machine, fmt, batch):
    setup = Setup(
        shape=load_model("llama-3-8b"), format=parse_format(fmt), machine=load_machine(machine)
    )
    step = predict_step(setup, [Sequences(batch=batch, new=1)], "expected")
    return next(float(op.compute_s) for op in step.operators if op.operator.name == "o")


def test_every_type_is_counted():
    plain = {"f32", "f16", "bf16"}
    assert UNPACK.keys() - {"i2_s"} <= TYPE_BITS.keys()
    gathered = {name for name in TYPE_BITS if name not in UNPACK} - plain
    assert gathered == {
        "iq3_s",
        "iq3_xxs",
        "iq2_s",
        "iq2_xs",
        "iq2_xxs",
        "iq1_s",
        "iq1_m",
        *(f"iq{bits}_kt" for bits in (1, 2, 3, 4)),
    }
    cores = load_machine("raspberry-pi-5").cores
    assert loop_instructions(parse_format("gguf-iq2_xs"), LLAMA_CPP, cores) == NEON_K16 + GATHER
    for name, mix in MIXES.items():
        if name not in plain:
            alone = parse_format(f"gguf-{mix.base}") if mix.base in MIXES else None
            found = loop_instructions(parse_format(f"gguf-{name}"), LLAMA_CPP, cores)
            assert alone is None or found == loop_instructions(alone, LLAMA_CPP, cores)


def test_a_token_by_hand():
    # Four cores of 2.4 GHz with two ports of 16 bytes, 5.5 instructions for 16 weights of Q4_0.
    machine, fmt = load_machine("raspberry-pi-5"), parse_format("gguf-q4_0")
    path = weight_path(machine, fmt, fastest=False)
    rate = 2 * 4 * 2.4e9 * 2 * 16 / 5.5
    assert path.one_token_ops_per_s == pytest.approx(rate)
    assert weight_path(machine, fmt).one_token_ops_per_s is None
    expected = 2 * 32 * 4096 * 4096 / (LOOP_SHARE * rate)
    assert products_s("raspberry-pi-5", "gguf-q4_0", 1) == pytest.approx(expected)


def test_narrow_types_take_longer_and_tokens_share_their_unpacking():
    machine = "jetson-agx-orin-64gb-cpu"
    times = [products_s(machine, f"gguf-{name}", 1) for name in ("q8_0", "q4_k_m", "q4_0", "q6_k")]
    assert times == sorted(times)
    # Two tokens take as long as one, since they share the unpacking of weights; for 64 tokens the
    # time does not depend on the type.
    assert products_s(machine, "gguf-q4_0", 2) == pytest.approx(times[2])
    prompts = [products_s(machine, f"gguf-{name}", 64) for name in ("q8_0", "q4_0")]
    assert prompts[0] == pytest.approx(prompts[1])
    # A loop is never faster than the instructions' peak.
    path = weight_path(load_machine("epyc-7v13"), parse_format("i2_s"), fastest=False)
    assert path.one_token_ops_per_s <= path.ops_per_s


def test_llama_cpp_takes_each_token_through_the_loop_without_a_product_of_tiles():
    machine, fmt = "jetson-agx-orin-64gb-cpu", "gguf-q3_k_s"
    one = products_s(machine, fmt, 1)
    assert products_s(machine, fmt, 64) == pytest.approx(64 * one)
    m2_max, engines = load_machine("apple-m2-max-cpu"), (LLAMA_CPP, IK_LLAMA_CPP)
    shared = [shares_unpacking(parse_format(fmt), engine, m2_max.cores) for engine in engines]
    assert shared == [False, True]
    # Only llama.cpp has tiles for SMMLA.
    paths = [
        weight_path(m2_max, parse_format("gguf-q4_0"), engine, fastest=False) for engine in engines
    ]
    assert paths[0].ops_per_s == 2 * paths[1].ops_per_s
    # Ternary weights have no scale in their loop.
    assert not weight_path(load_machine("epyc-7v13"), parse_format("i2_s")).is_counted


def test_until_2024_cmake_built_llama_cpp_for_plain_armv8():
    fmt, cores = parse_format("gguf-q4_0"), load_machine("raspberry-pi-5").cores
    assert loop_instructions(fmt, LLAMA_CPP_ARMV8, cores) == 3.5 + 2 + 5
    assert not shares_unpacking(fmt, LLAMA_CPP_ARMV8, cores)


def test_other_paths_have_no_such_loop():
    for machine, text in (
        ("rtx-4090", "gguf-q4_0"),
        ("ryzen-7950x", "w4a16"),
        ("p40", "gguf-q4_0"),
        ("ryzen-7950x", "gguf-f16"),
        ("raspberry-pi-5", "tl1"),
    ):
        path = weight_path(load_machine(machine), parse_format(text), fastest=False)
        assert path.one_token_ops_per_s is None


def test_attention_of_a_prompt_is_a_product():
    """The share of one token was fitted on decode; a prompt's tokens share keys and values."""
    setup = Setup(
        shape=load_model("llama-3-8b"),
        format=parse_format("gguf-q4_0"),
        machine=load_machine("raspberry-pi-5"),
    )

    def share(part):
        step = predict_step(setup, [part], "expected")
        found = next(op for op in step.operators if op.operator.name == "attention")
        softmax_s = found.operator.vector_ops / setup.machine.vector_ops_per_s
        softmax_s /= fitted().cpu_native_compute_share
        return found.operator.ops / (found.compute_s - softmax_s) / setup.machine.ops_per_s("fp32")

    # Heads twice as long as those of the fit: half of the instructions grow with them.
    decode = fitted().cpu_attention_compute_share * 2 / 1.5
    one = share(Sequences(batch=1, new=1, context=4096))
    assert one == pytest.approx(decode)
    # Sequences of a batch have keys of their own.
    assert share(Sequences(batch=16, new=1, context=4096)) == pytest.approx(decode)
    assert share(Sequences(batch=1, new=4, context=4096)) == pytest.approx(4 * decode)
    prompt = share(Sequences(batch=1, new=4096))
    assert prompt == pytest.approx(fitted().cpu_native_compute_share)


def test_loops_differ_by_instruction_set():
    counts = {
        (name, machine): loop_instructions(
            parse_format(f"gguf-{name}"), LLAMA_CPP, load_machine(machine).cores
        )
        for name in ("q4_0", "q4_1", "q4_k_m", "tq2_0")
        for machine in ("raspberry-pi-5", "raspberry-pi-4", "core-i5-6500", "core-i5-1035g7")
    }
    assert counts["q4_0", "raspberry-pi-5"] == 3.5 + 2
    # Cortex-A72 has no dot product, and neither has AVX2 alone.
    assert counts["q4_0", "raspberry-pi-4"] == 8.5 + 2
    assert (counts["q4_0", "core-i5-6500"], counts["q4_0", "core-i5-1035g7"]) == (8 + 4, 7 + 4)
    assert (counts["q4_1", "core-i5-6500"], counts["q4_1", "core-i5-1035g7"]) == (6 + 3, 5 + 3)
    for machine in ("core-i5-6500", "core-i5-1035g7"):
        assert (counts["q4_k_m", machine], counts["tq2_0", machine]) == (5.5 + 1.5, 2 + 1.75)


def test_llama_cpp_of_2023_takes_prompts_through_loops():
    fmt = parse_format("gguf-q4_0")
    machine = load_machine("core-i9-13900k")
    engines = LLAMA_CPP, LLAMA_CPP_2023
    shared = [shares_unpacking(fmt, engine, machine.cores) for engine in engines]
    assert shared == [True, False]
    tiles, loops = (weight_path(machine, fmt, engine, fastest=False) for engine in engines)
    # llama.cpp of 2023 has one rate for any number of tokens: today's rate of a single token.
    assert loops.is_counted and loops.one_token_ops_per_s is None
    assert loops.ops_per_s == tiles.one_token_ops_per_s < tiles.ops_per_s


def test_loops_for_avx2_use_no_wider_vectors():
    cores = load_machine("core-i5-1035g7").cores
    assert cores.vector_bytes_per_s(1) == 3 * 32 * 4 * cores.hertz
    assert cores.vector_bytes_per_s(1, widest=True) == 2 * 64 * 4 * cores.hertz
    path = weight_path(load_machine("core-i5-1035g7"), parse_format("gguf-q4_0"), fastest=False)
    assert path.one_token_ops_per_s == pytest.approx(2 * 3 * 32 * 4 * cores.hertz / 11)


def test_a_vector_of_t_mac_takes_what_its_kernels_do():
    fmt = parse_format("tmac-2")
    # Two weights of 2 bits a lookup; 16 lookups in 4 instructions, or 32 in 10.
    arm, x86 = load_machine("raspberry-pi-5"), load_machine("ryzen-7950x")
    assert weight_path(arm, fmt, fastest=False).ops_per_s == pytest.approx(
        2 * 2 * 2 * 16 / 4 * 4 * 2.4e9
    )
    assert weight_path(x86, fmt, fastest=False).ops_per_s == pytest.approx(
        2 * 2 * 4 * 32 / 10 * 16 * x86.cores.hertz
    )


def test_a_cortex_a72_has_no_fp16_arithmetic():
    machine = load_machine("raspberry-pi-4")
    assert machine.native_peaks == {"fp32": 4 * 8 * 1.5e9, "int8": 4 * 16 * 1.5e9}
    assert weight_path(machine, parse_format("gguf-f16")).title == "dequantize to fp32"
