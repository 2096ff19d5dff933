"""Formats of measured rows, as tables write them."""

import pytest

from hw.machine import load_machine
from roofline.measured.table import read_format
from roofline.model.model_shape import load_model
from roofline.runtime.activations import as_run
from roofline.runtime.engine import engine_for
from roofline.workload.memory import weight_bytes


@pytest.mark.parametrize(
    "text,act,packing,bits",
    [
        ("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", "", "gguf", None),
        ("f16 (14.96 GiB)", "f16", "gguf", 16.0),
        ("exl2 4.65bpw", "", "plain", 4.65),
        ("3.0 bpw EXL2", "", "plain", 3.0),
        ("fp8", "fp8", "plain", 8.0),
        ("w4a16 g128", "", "plain", 4.125),
        ("w4a16 g64 (AWQ)", "fp16", "plain", 4.25),
        ("INT4 AWQ", "fp16", "plain", 4.125),
        ("int8", "int8", "plain", 8.0),
        ("i2_s", "int8", "ternary", 2.0),
        ("TL2", "int8", "lookup", 5 / 3),
        ("int2 (T-MAC)", "int8", "lookup", 2.125),
        ("T-MAC 4-bit", "", "lookup", 4.125),
        ("Q4_0", "", "gguf", 4.5),
        ("bf16", "", "plain", 16.0),
        ("nvfp4", "fp4", "plain", 4.5),
        ("4-bit", "fp16", "plain", 4.125),
        ("ternary", "", "ternary", 2.0),
        ("gguf-MXFP4", "", "gguf", 4.25),
        ("MXFP4 MoE (llama.cpp)", "", "gguf", 4.25),
        ("mxfp4", "", "plain", 4.25),
        ("gguf-Q6_0", "", "ik", 6.5),
        ("IQ2_KT", "", "ik", 2.125),
        ("gguf-IQ3_KT", "", "ik", 3.125),
        ("IQ4_KT", "", "ik", 4.0),
        ("IQ4_KSS", "", "ik", 4.0),
        ("gguf-IQ5_K", "", "ik", 5.5),
    ],
)
def test_weight_formats_read_like_tables_write_them(text, act, packing, bits):
    shape = load_model("llama-3-8b")
    fmt = read_format(text, act, shape)
    assert fmt.packing == packing
    if bits is not None:
        per_weight = fmt.weights.bits_per_weight(4096, 4096)
        assert per_weight == pytest.approx(bits, abs=2e-3 if bits != 8.0 else 0.005)


@pytest.mark.parametrize(
    "text,act,kv",
    [
        ("w4a16 g128, kv8", "", "int8"),
        ("w4a16", "fp16 (KV fp8)", "fp8_e4m3"),
        ("fp8", "fp8", "fp8_e4m3"),
        ("w8a8", "int8", "fp16"),
        ("gguf-Q4_K_M", "", "fp16"),
        ("nvfp4", "fp4", "fp8_e4m3"),
        ("nvfp4", "", "fp16"),
        ("fp8, KV cache fp16", "", "fp16"),
    ],
)
def test_the_cache_is_read_from_the_words(text, act, kv):
    assert read_format(text, act, load_model("llama-3-8b")).kv == kv


@pytest.mark.parametrize(
    "machine,weights,act,found",
    [
        ("b200", "nvfp4", "", "fp4"),
        ("b200", "mxfp4", "", "fp8"),
        ("rtx-pro-6000-blackwell", "mxfp4", "", "fp16"),
        ("h100-sxm", "nvfp4", "", "fp16"),
        ("mi300x", "mxfp4", "", "fp16"),
        ("b200", "nvfp4", "fp16", "fp16"),
        ("b200", "nvfp4 w4a16 marlin", "", "fp16"),
        ("b200", "gguf-MXFP4", "", "fp16"),
        ("b200", "w4a16", "", "fp16"),
    ],
)
def test_fp4_weights_run_as_the_machine_can(machine, weights, act, found):
    shape = load_model("llama-3-8b")
    found_machine = load_machine(machine)
    fmt = read_format(weights, act, shape, machine=found_machine)
    assert as_run(fmt, found_machine, engine_for(fmt)).activations == found


def test_the_bound_leaves_out_no_usual_cache_or_head():
    shape = load_model("llama-3-8b")
    for text, kv, head in (
        ("w8a8", "fp8_e4m3", 8),
        ("fp8", "fp8_e4m3", 8),
        ("w8a8, kv cache fp16", "fp16", 8),
        ("w4a16", "fp16", 4.125),
        ("fp16", "fp16", 16),
        ("w4a8kv4", "int4", 4.125),
    ):
        fmt = read_format(text, "", shape, smallest=True)
        assert fmt.kv == kv
        assert fmt.head.bits_per_weight(4096, 4096) == pytest.approx(head, abs=0.01)
    # A file size given in the text is kept.
    sized = read_format("w4a16 (5.5 GB)", "", shape, smallest=True)
    assert weight_bytes(shape, sized) == pytest.approx(5.5e9, rel=1e-4)


def test_a_file_size_sets_the_bytes():
    shape = load_model("llama-3-8b")
    for text, size in (("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", 4.58), ("f16 (14.96 GiB)", 14.96)):
        assert weight_bytes(shape, read_format(text, "", shape)) / 2**30 == pytest.approx(size)
    by_bits = read_format("gguf-Q4_K_M (4.90 bpw)", "", shape)
    assert weight_bytes(shape, by_bits) * 8 / shape.params == pytest.approx(4.90)


@pytest.mark.parametrize(
    "text,name",
    [
        ("w8a8-fp8", "fp8"),
        ("gptq-3bit-g128", "w3a16-g128"),
        ("int4 g32", "w4a16-g32"),
        ("mlx-4bit g64", "w4a16-g64"),
        ("awq-int4 g64", "w4a16-g64"),
        ("4-bit", "w4a16"),
        ("2:4 sparse fp16", "fp16"),
        ("Q4_K", "gguf-q4_k_m"),
        ("gguf-Q3_K", "gguf-q3_k_m"),
        ("Q2_K", "gguf-q2_k"),
        ("q4", "gguf-q4_0"),
    ],
)
def test_names_of_formats_in_tables(text, name):
    assert read_format(text, "", load_model("llama-3-8b")).name == name
