"""LLM-Viewer's numbers to nine digits, and each of its defects beside the corrected model."""

import dataclasses

import pytest

from hw.machine import load_machine
from roofline.measured.llm_viewer import HARDWARE, Widths, llm_viewer
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.workload.operators import operators
from roofline.workload.step import Options, Sequences

#: The table of the run on the H100 with batch 16 and 8 bits says 5.01253444 ms; every operator is
#: memory-bound there, and its own bytes over 3072 GB/s are 5.01253442.
#: Model, hardware, batch, bits of weights, activations, cache, fused; bytes e9 and ms of prefill
#: and decode and memory e9 of decode, as LLM-Viewer 472f71f prints them for 2048 tokens.
RUNS = """\
llama-2-7b nvidia_A100_80G 1 16 16 16 0 65.8611308 105.947713 14.313151 7.0196915 14.0261325
llama-2-7b nvidia_A100_80G 1 16 16 16 1 64.250518 105.15781 14.3045002 7.01544886 14.0261243
llama-2-7b nvidia_A100_80G 1 4 16 16 0 55.9505147 105.851289 4.40253491 2.15916376 4.31212442
llama-2-7b nvidia_A100_80G 1 8 8 8 0 32.9305654 52.9738565 7.15657549 3.50984575 7.01306624
llama-2-7b nvidia_A100_80G 1 4 16 8 0 54.8767729 105.587988 3.86540186 1.89573411 3.77525350
llama-2-7b nvidia_A100_80G 1 4 4 4 0 16.4652827 48.895876 3.57828774 1.75492288 3.50653312
llama-2-7b nvidia_A100_80G 16 16 16 16 0 855.564688 1693.2344 30.7970115 15.1039782 30.1379584
llama-2-7b nvidia_A100_80G 16 16 16 16 1 829.794884 1680.59595 30.6585994 15.0360958 30.1378273
llama-2-7b nvidia_A100_80G 16 4 16 16 0 845.654072 1693.13798 20.8863954 10.2434504 20.4239503
llama-2-7b nvidia_A100_80G 16 8 8 8 0 427.782344 846.617202 15.3985057 7.55198908 15.0689792
llama-2-7b nvidia_A100_80G 16 4 16 8 0 828.474203 1688.92516 12.2922665 6.02857602 11.8340157
llama-2-7b nvidia_A100_80G 16 4 4 4 0 213.891172 781.851764 7.69925286 3.77599454 7.53448960
llama-2-7b nvidia_A100 1 16 16 16 0 65.8611308 112.462069 14.313151 9.2045987 14.0261325
llama-2-7b nvidia_A100 1 4 16 16 0 55.9505147 112.335633 4.40253491 2.83121216 4.31212442
llama-2-7b nvidia_A100 16 16 16 16 0 855.564688 1796.86368 30.7970115 19.8051521 30.1379584
llama-2-7b nvidia_A100 16 4 16 16 0 845.654072 1796.73725 20.8863954 13.4317655 20.4239503
llama-2-7b nvidia_A6000 1 16 16 16 0 65.8611308 226.878591 14.313151 18.6369153 14.0261325
llama-2-7b nvidia_H100 1 16 16 16 0 65.8611308 40.6988011 14.313151 4.65922883 14.0261325
llama-2-7b nvidia_H100 16 8 8 8 0 427.782344 324.950232 15.3985057 5.01253442 15.0689792
llama-2-13b nvidia_A6000 16 16 16 16 0 1342.37921 6751.19988 53.17664 69.2404167 52.226687
llama-2-70b nvidia_H100 1 16 16 16 0 395.460033 350.258833 138.224352 44.9949062 137.573958
llama-2-70b nvidia_H100 1 4 16 16 0 292.390255 350.130833 35.1545738 11.4435462 34.8973957
llama-3-8b nvidia_A100_80G 1 16 16 16 0 66.9518423 112.349746 15.303445 7.50536782 14.2274724
"""
#: Microseconds of one layer's operators of Llama-2-7B on the A100 80 GB.
PREFILL_US = {
    "q_proj": 220.2547,
    "gate_proj": 591.9346,
    "qk_matmul": 148.1069,
    "softmax": 263.3011,
    "attn_norm": 16.4563,
    "mlp_act": 24.6845,
}
DECODE_US = {
    "q_proj": 16.46435,
    "up_proj": 44.24117,
    "sv_matmul": 8.296459,
    "softmax": 0.128565,
    "mlp_add": 0.0080353,
    "mlp_act": 0.0120530,
}
LLAMA = load_model("llama-2-7b")
A100 = "nvidia_A100_80G"


def digits(value):
    return f"{value:.9g}"


@pytest.mark.parametrize("line", RUNS.splitlines())
def test_nine_digits(line):
    model, hardware, *numbers = line.split()
    batch, w, a, kv, fused = map(int, numbers[:5])
    widths = Widths(weights=w, activations=a, kv=kv)
    stages = llm_viewer(
        load_model(model), hardware, length=2048, batch=batch, widths=widths, fused=bool(fused)
    )
    prefill, decode = stages["prefill"], stages["decode"]
    found = [
        prefill.traffic_bytes / 1e9,
        prefill.total_s * 1e3,
        decode.traffic_bytes / 1e9,
        decode.total_s * 1e3,
        decode.memory_bytes / 1e9,
    ]
    assert [digits(value) for value in found] == [digits(float(text)) for text in numbers[5:]]


def test_operations_and_operators():
    stages = llm_viewer(LLAMA, A100, length=2048)
    assert stages["prefill"].ops / 1e12 == pytest.approx(28.751179, abs=5e-7)
    assert stages["decode"].ops / 1e9 == pytest.approx(14.1696696, abs=5e-8)
    for stage, expected in (("prefill", PREFILL_US), ("decode", DECODE_US)):
        by_name = {op.name: op for op in stages[stage].operators}
        for name, time_us in expected.items():
            found = stages[stage].time_s(by_name[name]) * 1e6
            assert found == pytest.approx(time_us, rel=5e-6), name
    head = stages["decode"]
    assert head.time_s(head.head) * 1e6 == pytest.approx(128.6004, abs=5e-5)
    assert {head.bound(op) for op in head.operators} == {"memory"}
    assert stages["prefill"].bound(stages["prefill"].operators[0]) == "compute"


def ours(shape=LLAMA, text="fp16", *, batch=1, new=1, context=2047, **options):
    step = [Sequences(batch=batch, new=new, context=context)]
    found = operators(shape, parse_format(text), step, options=Options(**options))
    return {op.name: op for op in found}


def theirs(stage, name, **options):
    found = llm_viewer(LLAMA, A100, length=2048, **options)[stage]
    return next(op for op in (*found.operators, found.head) if op.name == name)


def test_defect_1_the_head_counts_half_and_one_sequence():
    assert ours(batch=4)["lm_head"].ops == 2 * theirs("decode", "lm_head", batch=4).ops
    for batch in (1, 4):
        assert theirs("decode", "lm_head", batch=batch).read_bytes == 4096 * 2
    assert ours(batch=4)["lm_head"].activation_bytes == 4 * (4096 + 32000) * 2


def test_defect_2_the_activation_has_the_hidden_width():
    act = theirs("decode", "mlp_act")
    assert act.written_bytes == 4096 * 2
    assert ours()["activation"].activation_bytes == 3 * 11008 * 2 * 32


def test_defect_3_fused_attention_reads_the_cache_of_every_query_head():
    llama3 = load_model("llama-3-8b")
    stage = llm_viewer(llama3, A100, length=2048, batch=16, fused=True)["decode"]
    fused = next(op for op in stage.operators if op.name == "fused_attention")
    assert fused.kv_read_bytes * 32 / 1e9 == pytest.approx(17.18, abs=5e-3)
    assert ours(llama3, batch=16)["attention"].kv_bytes / 1e9 == pytest.approx(4.29, abs=6e-3)


def test_defect_4_fused_attention_writes_scores():
    fused = theirs("prefill", "fused_attention", fused=True)
    assert fused.written_bytes == 2 * 2048 * 2048 * 32 * 2
    mine = ours(new=2048, context=0)["attention"].activation_bytes / 32
    assert mine == (2 * 2048 * 4096 + 2048 * 2 * 4096) * 2


def test_defect_5_rows_are_capped_by_the_head():
    fused = theirs("prefill", "fused_attention", fused=True)
    # Sixteen passes of 128 rows, though the chip holds 27,000.
    assert fused.kv_read_bytes == 2 * 16 * 2048 * 128 * 32 * 2
    on_chip = load_machine("a100-sxm-80gb").on_chip_kb.value * 1e3
    step = [Sequences(batch=1, new=2048)]
    found = operators(LLAMA, parse_format("fp16"), step, on_chip_bytes=on_chip)
    attention = next(op for op in found if op.name == "attention")
    assert attention.kv_bytes / 32 == 2 * 2048 * 128 * 32 * 2


def test_defect_6_prefill_is_not_causal():
    full = theirs("prefill", "qk_matmul").ops + theirs("prefill", "sv_matmul").ops
    mine = ours(new=2048, context=0)["attention"].ops / 32
    assert full / mine == pytest.approx(2 * 2048 / 2049)
    assert ours(new=2048, context=0, causal=False)["attention"].ops / 32 == full


def test_defect_7_queries_are_as_narrow_as_keys():
    llama3 = load_model("llama-3-8b")
    stage = llm_viewer(llama3, A100, length=64)["prefill"]
    scores = next(op for op in stage.operators if op.name == "qk_matmul")
    assert scores.read_bytes == 64 * 8 * 128 * 2
    mine = ours(llama3, new=64, context=0, fused_attention=False)
    assert mine["scores"].activation_bytes / 32 == (64 * 4096 + 32 * 64 * 64 + 64 * 2048) * 2


def test_defect_8_heads_have_an_explicit_width():
    gemma = load_model("gemma-7b")
    stage = llm_viewer(gemma, A100, length=16)["decode"]
    q = next(op for op in stage.operators if op.name == "q_proj")
    assert q.ops == 2 * 3072 * 3072
    assert ours(gemma, context=15)["o"].ops == 2 * 3072 * 16 * 256 * 28


def test_defect_9_a_gate_for_models_without_one():
    opt = load_model("opt-1.3b")
    names = {op.name for op in llm_viewer(opt, A100, length=16)["decode"].operators}
    assert "gate_proj" in names
    assert "up" in ours(opt, context=15) and "gate and up" not in ours(opt, context=15)


def test_defect_10_a_processor_with_instructions_it_lacks():
    with pytest.raises(ValueError, match="no INT8 peak"):
        llm_viewer(LLAMA, "intel_13900k", length=16, widths=Widths(weights=8, activations=8, kv=8))
    assert HARDWARE["intel_13900k"][1] == 8 * 5.4e9 * 32
    machine = load_machine("core-i9-13900k")
    assert machine.cores.instructions == "avx2-vnni" and machine.ops_per_s("int8") > 5e12
    assert machine.ops_per_s("fp16") is None


def test_defect_11_weights_without_scales_and_a_narrow_head():
    w4 = Widths(weights=4)
    assert theirs("decode", "lm_head", widths=w4).weight_bytes == 4096 * 32000 / 2
    assert ours(text="w4a16")["lm_head"].weight_bytes == 4096 * 32000 * 2
    mine = ours(text="w4a16")["o"].weight_bytes / 32
    assert mine == theirs("decode", "out_proj", widths=w4).weight_bytes * 4.125 / 4


def test_defect_12_bandwidth_of_the_h100_and_which_a100():
    assert HARDWARE["nvidia_H100"][0] == 3072e9
    assert load_machine("h100-sxm").bytes_per_s == 3350e9
    assert HARDWARE["nvidia_A100"] == HARDWARE["nvidia_A100_40G"]
    assert load_machine("a100-sxm-80gb").bytes_per_s == 2039e9


def test_defect_13_a_ratio_of_tokens_that_does_nothing():
    # It had a parameter that changed nothing; a window is what shortens the cache here.
    local = dataclasses.replace(LLAMA, window=1024)
    assert ours(local)["attention"].kv_bytes == ours()["attention"].kv_bytes / 2
    stage = llm_viewer(local, A100, length=2048)["decode"]
    assert stage.traffic_bytes == llm_viewer(LLAMA, A100, length=2048)["decode"].traffic_bytes


@pytest.mark.parametrize(
    "hardware,length,words",
    [("nvidia_A100_8G", 1, "did you mean 'nvidia_A100_80G'"), (A100, 0, "length is 0")],
)
def test_bad_input(hardware, length, words):
    with pytest.raises(ValueError, match=words):
        llm_viewer(LLAMA, hardware, length=length)
