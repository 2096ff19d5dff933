"""Formats: bits, kernels and the paths that machines take with them."""

import pytest
from _helpers.gguf_sizes import PUBLISHED

from hw.machine import load_machine
from roofline.kernels.paths import attention_path, weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import LLAMA_CPP_MAY_2024
from roofline.runtime.serving_format import parse_format
from roofline.workload.memory import weight_bytes


@pytest.mark.parametrize(
    "text,bits",
    [
        ("w4a16", 4.125),
        ("w4a16-g32", 4.5),
        ("int4-asym", 4.15625),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("i2_s", 2.0),
        ("tl2", 5 / 3),
        ("fp16", 16.0),
        ("w3a16", 3.125),
        ("gguf-q4_0", 4.5),
        ("gguf-q8_0", 8.5),
        ("gguf-q6_k", 6.5625),
    ],
)
def test_bits_per_weight(text, bits):
    assert parse_format(text).weights.bits_per_weight(4096, 4096) == pytest.approx(bits, abs=1e-5)


@pytest.mark.parametrize("model,bpw", [("llama-3-8b", 4.90), ("llama-3-70b", 4.82)])
def test_a_mixture_is_as_large_as_its_file(model, bpw):
    shape = load_model(model)
    found = weight_bytes(shape, parse_format("gguf-q4_k_m")) * 8 / shape.params
    assert found == pytest.approx(bpw, abs=0.012)


@pytest.mark.parametrize("mix", PUBLISHED)
def test_mixes_are_as_large_as_llama_cpp_publishes(mix):
    shape = load_model("llama-3.1-8b")
    norms = (2 * shape.layers + 1) * shape.hidden
    # Norms are in FP16 here and in float32 in the files.
    size = weight_bytes(shape, parse_format(f"gguf-{mix}")) + 2 * norms
    assert size * 8 / shape.params == pytest.approx(PUBLISHED[mix], abs=1e-4)


def test_the_bound_is_that_of_every_path_of_the_machine():
    for machine in ("b200", "h100-sxm", "rtx-5090", "b300", "v100-sxm2"):
        for name in ("nvfp4", "mxfp4", "w8a8", "w4a8", "fp8", "w4a16", "gguf-mxfp4", "gguf-q4_0"):
            found = load_machine(machine)
            bound = weight_path(found, parse_format(name), fastest=True).ops_per_s
            for activations in (None, "fp16", "fp8", "fp4", "int8"):
                fmt = parse_format(name, activations=activations)
                expected = weight_path(found, fmt, fastest=False).ops_per_s
                assert bound >= expected or activations not in (None, "fp16"), (machine, name)
    # An INT8 unit that is slower than FP16 bounds nothing.
    b300 = load_machine("b300")
    assert b300.ops_per_s("int8") < b300.ops_per_s("fp16")
    assert weight_path(b300, parse_format("w8a8")).ops_per_s == b300.ops_per_s("fp16")


@pytest.mark.parametrize(
    "kv,bits", [("fp8", 8.0), ("fp8_e5m2", 8.0), ("nvfp4", 4.5), ("int8", 8.25), ("q8_0", 8.5)]
)
def test_caches_store_what_runtimes_store(kv, bits):
    shape = load_model("llama-2-7b")
    assert parse_format("fp16", kv=kv).kv_bytes(shape) == bits / 8 * shape.kv_values_per_token()


def test_cache_bytes():
    shape = load_model("llama-2-7b")
    per_layer = parse_format("w4a16kv8").kv_bytes(shape)
    assert parse_format("fp16").kv_bytes(shape) * 32 == 524288
    # One float32 scale for each head and token.
    assert per_layer == 2 * 32 * (128 + 4)


@pytest.mark.parametrize(
    "machine,text,title",
    [
        ("h100-sxm", "fp8", "native fp8"),
        ("a100-sxm-80gb", "fp8", "dequantize to fp16"),
        ("a100-sxm-80gb", "w8a8", "native int8"),
        ("a100-sxm-80gb", "w4a16", "dequantize to fp16"),
        ("a100-sxm-80gb", "w4a4", "native int4"),
        ("h100-sxm", "w4a4", "dequantize to int8"),
        ("b200", "nvfp4", "native fp4"),
        ("b200", "mxfp4", "dequantize to fp8"),
        ("rtx-5090", "mxfp4", "dequantize to fp16"),
        ("h100-sxm", "nvfp4", "dequantize to fp16"),
        ("rtx-5090", "gguf-mxfp4", "native fp4"),
        ("rtx-4090", "gguf-mxfp4", "dequantize to int8"),
        ("raspberry-pi-5", "gguf-q4_0", "dequantize to int8"),
        ("apple-m2-ultra", "gguf-q4_0", "dequantize to fp16"),
        ("raspberry-pi-5", "tl1", "table lookup"),
        ("raspberry-pi-5", "i2_s", "dequantize to int8"),
        ("epyc-7v13", "fp16", "dequantize to fp32"),
        ("raspberry-pi-5", "tmac-2", "table lookup"),
        ("p40", "gguf-q4_0", "dequantize to int8"),
        ("rtx-4090", "gguf-q4_0", "dequantize to int8"),
        ("v100-sxm2", "gguf-q4_0", "dequantize to fp16"),
        ("rk3588-npu", "fp32", "dequantize to fp16"),
    ],
)
def test_the_path_a_machine_really_takes(machine, text, title):
    path = weight_path(load_machine(machine), parse_format(text), fastest=False)
    assert path.title == title


def test_only_llama_cpp_accumulates_in_fp16():
    machine = load_machine("rtx-4090")
    formats = [parse_format(text) for text in ("gguf-f16", "gguf-q4_0", "fp16", "w4a16")]
    engines = [None, LLAMA_CPP_MAY_2024, None, None]
    rates = [
        weight_path(machine, fmt, engine, fastest=False).ops_per_s
        for fmt, engine in zip(formats, engines, strict=True)
    ]
    assert rates == [330e12, 330e12, 165e12, 165e12]
    # The bound multiplies in INT8, the fastest path of any run.
    assert weight_path(machine, parse_format("gguf-q4_0")).ops_per_s == 660e12


def test_weights_are_unpacked_in_the_loop_in_memory_or_before():
    names = ("ryzen-7950x", "rtx-4090", "apple-m2-max", "v100-sxm2")
    cpu, gpu, apple, v100 = map(load_machine, names)
    found = [
        weight_path(machine, parse_format(text), fastest=False)
        for machine, text in [
            (cpu, "gguf-q4_0"),
            (cpu, "w4a16"),
            (v100, "gguf-q4_0"),
            (gpu, "w4a16"),
            (apple, "gguf-q4_0"),
            (gpu, "gguf-f16"),
            (gpu, "gguf-q4_0"),
        ]
    ]
    assert [path.unpacks_in_loop for path in found] == [True, *5 * [False], True]
    assert [path.expanded_bytes for path in found] == [0, 0, 4, 0, 0, 0, 0]
    assert [path.dequantize_ops > 0 for path in found] == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_lookups_count_the_instructions_of_their_loop():
    cores = load_machine("raspberry-pi-5").cores
    # Two ports of 16 bytes, 7 instructions, 4 cores of 2.4 GHz.
    assert cores.vector_bytes_per_s(7) == pytest.approx(2 * 16 / 7 * 4 * 2.4e9)
    path = weight_path(load_machine("raspberry-pi-5"), parse_format("tl1"), fastest=False)
    assert path.ops_per_s == pytest.approx(2 * 2 * cores.vector_bytes_per_s(7))
    four, two = (
        weight_path(load_machine("raspberry-pi-5"), parse_format(f"tmac-{bits}"), fastest=False)
        for bits in (4, 2)
    )
    assert two.ops_per_s == 2 * four.ops_per_s
    with pytest.raises(ValueError, match="T-MAC stores 1 to 4 bits"):
        parse_format("tmac-8")


def test_operand_pairs_that_blackwell_multiplies():
    fmt = parse_format("nvfp4", activations="fp4")
    assert weight_path(load_machine("b200"), fmt).ops_per_s == 9000e12


def test_the_head_has_its_own_path():
    machine, fmt = load_machine("a100-sxm-80gb"), parse_format("w8a8")
    assert weight_path(machine, fmt, head=True).operand == "fp16"
    assert attention_path(machine, fmt).operand == "fp16"


@pytest.mark.parametrize(
    "text,words",
    [
        ("w4b16", "did you mean 'w4a16'"),
        ("w9a16", "2 to 8, 16 or 32"),
        ("w4a5", "activations have 4, 8, 16 or 32"),
        ("gguf-q9_z", "unknown format 'gguf-q9_z'"),
        ("int4:g0", "0"),
        ("", "unknown format ''"),
    ],
)
def test_unknown_recipes(text, words):
    with pytest.raises(ValueError) as error:
        parse_format(text)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_unknown_activations_and_caches():
    with pytest.raises(ValueError, match="activations in 'x8'"):
        parse_format("w4a16", activations="x8")
    with pytest.raises(ValueError, match="unknown format"):
        parse_format("w4a16", kv="nonsense")
