"""Engines of measured rows by their words, and how machines share a model."""

import pytest
from _helpers.measured_rows import HEAD, scored

from roofline.measured.table import read_points
from roofline.time.links import HOST_COPY_US


@pytest.mark.parametrize(
    "device,weights,source,parallel",
    [
        ("A10G x 4", "gguf-Q4_0", "s", "rows"),
        ("A10G x 4", "gguf-Q4_0", "llama.cpp/pull/9000", "pipeline"),
        ("A10G x 4", "gguf-Q4_0", "llama.cpp/pull/900", "rows"),
        ("A10G x 4 -sm row", "gguf-Q4_0", "s", "rows"),
        ("A10G x 4", "gguf-Q4_0", "some table (row split)", "rows"),
        ("A10G x 4", "gguf-Q4_0", "some table of Dec 2023", "rows"),
        ("A10G x 4", "gguf-Q4_0", "some table of 2024", "pipeline"),
        ("A10G x 4", "gguf-Q4_0, -sm tensor", "2023", "tensor"),
        ("A10G x 4", "w4a16", "2023", "tensor"),
        ("2x EPYC 9654", "gguf-Q4_0", "2023", "pipeline"),
    ],
)
def test_llama_cpp_splits_layers_but_rows_until_2024(tmp_path, device, weights, source, parallel):
    # A source that does not say when is of the time when its model was new.
    assert scored(tmp_path, "A10G x 4,Llama-3-8B,,gguf-Q4_0,,1,,,decode,9").point.parallel == (
        "pipeline"
    )
    path = tmp_path / "row.csv"
    path.write_text(f'{HEAD}{device},Llama-2-7B,6.7e9,"{weights}",,1,,,decode,20,{source}\n')
    (point,) = read_points(path)
    assert point.parallel == parallel


def test_a_report_names_an_old_program(tmp_path):
    row = scored(tmp_path, "RTX 4090 x 2,Llama-3-8B,,gguf-Q4_0,,1,,,decode,9")
    assert "llama.cpp of May 2024; layers split over machines" in row.reason
    row = scored(tmp_path, "RTX 4090 x 2 row split,Llama-3.1-8B,,gguf-Q4_0,,1,,,decode,9")
    assert "of May" not in row.reason and "rows of weights split" in row.reason


def test_layers_read_no_faster_than_one_and_rows_wait_for_copies(tmp_path):
    def token_s(device, model, weights):
        return 1 / scored(tmp_path, f"{device},{model},,{weights},,1,,,decode,20").expected

    one, layers = (token_s(d, "Llama-3-8B", "gguf-Q4_0") for d in ("A10G", "A10G x 4"))
    assert layers > one and layers == pytest.approx(one, rel=0.01)
    # 7 matrix products in each of 32 layers and the head send inputs to 3 GPUs and results back.
    rows = token_s("A10G x 4 -sm row", "Llama-3-8B", "gguf-Q4_0")
    copies = 2 * 3 * 225 * HOST_COPY_US * 1e-6
    assert one / 4 + copies < rows < one + copies
    assert token_s("A10G x 4", "Llama-3-8B", "w4a16") < 0.7 * one
    # Splitting rows pays off for large models only; llama.cpp, pull request 2448: 1.34 and 0.92.
    p40 = [token_s(d, "LLaMA-33B", "gguf-Q4_0") for d in ("P40", "P40 x 3 row split")]
    assert p40[0] / p40[1] == pytest.approx(1.34, rel=0.2)
    p40 = [token_s(d, "LLaMA-7B", "gguf-Q4_0") for d in ("P40", "P40 x 3 row split")]
    assert p40[0] / p40[1] == pytest.approx(0.92, rel=0.2)


def test_the_program_is_read_from_any_words(tmp_path):
    rows = {
        "M2-Max CPU,Llama-3.1-8B,,gguf-Q5_0,,1,512,,prefill,70,ik_llama.cpp PR 121": "ik_llama.cpp",
        "M2-Max CPU,Llama-3.1-8B,,gguf-Q5_0,,1,512,,prefill,26,ik_llama.cpp mainline": "llama.cpp",
        "Raspberry Pi 5,Llama-2-7B,,gguf-Q4_0,,1,,128,decode,1,T-MAC": "llama.cpp for armv8",
        "i5-1035G7,Llama-2-7B,,gguf-Q4_0,,1,,128,decode,1,T-MAC": "llama.cpp",
        "M2-Ultra CPU,Llama-2-7B,,gguf-Q4_0,,1,,128,decode,1,T-MAC": "llama.cpp",
        "EPYC 7V13,BitNet-b1.58-2B-4T,,i2_s,,1,,128,decode,1,T-MAC": "bitnet.cpp",
        "Ryzen 5950X,Mistral-7B,,gguf-Q6_K,,1,512,,prefill,1,llamafile": "ik_llama.cpp",
        "Ryzen 5950X,Mistral-7B,,gguf-Q6_K,,1,512,,prefill,1,": "llama.cpp",
        "i9-13900K,LLaMA-7B,,gguf-Q4_0,,1,512,,prefill,1,llama.cpp/issues/34": "llama.cpp of 2023",
        "i9-13900K,LLaMA-7B,,gguf-Q4_0,,1,512,,prefill,1,spring 2023": "llama.cpp of 2023",
        "i9-13900K,LLaMA-7B,,gguf-Q4_0,,1,512,,prefill,1,llama.cpp/pull/9000": (
            "llama.cpp of 2024"
        ),
        "M2-Max CPU,LLaMA-7B,,gguf-Q4_0,,1,512,,prefill,1,ik_llama.cpp/pull/54": "ik_llama.cpp",
        "RTX 4090,Llama-3-8B,,gguf-Q4_0,,1,512,,prefill,1,t": "llama.cpp of May 2024",
        "RTX 4090,Llama-3-8B,,gguf-Q4_0,,1,512,,prefill,1,t of 2024": "llama.cpp of May 2024",
        "RTX 4090,Llama-3-8B,,gguf-Q4_0,,1,512,,prefill,1,t of 2025": "llama.cpp of 2025",
        "RTX 4090,Llama-3.1-8B,,gguf-Q4_0,,1,512,,prefill,1,t of 2024": "llama.cpp of 2024",
        "RX 7900 XTX,Llama-3.1-8B,,gguf-bf16,,1,512,,prefill,1,Vulkan": "llama.cpp on Vulkan",
        "RTX 4090,Llama-3.1-8B,,gguf-Q4_0,,1,512,,prefill,1,t": "llama.cpp",
        "RTX 4090,Llama-3.1-8B,,gguf-Q4_0,,1,512,,prefill,1,llama.cpp/pull/7000": (
            "llama.cpp of May 2024"
        ),
    }
    path = tmp_path / "points.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    assert [point.engine.name for point in read_points(path)] == list(rows.values())


def test_a_row_says_whether_attention_is_fused_and_how_long_a_pass_is(tmp_path):
    def gpu(words):
        source = f"llama-bench of 2025{words}"
        row = scored(tmp_path, f"RTX 4090,Qwen3-30B-A3B,,gguf-Q4_0,,1,4096,,prefill,1,{source}")
        return row.point.engine.gpu, row.expected

    usual, rate = gpu("")
    assert (usual.flash_attention, usual.ubatch_tokens) == (True, 512)
    plain, slower = gpu(" -fa 0")
    assert not plain.flash_attention and slower < rate
    long, faster = gpu(" -fa 1 -ub 2048")
    assert (long.flash_attention, long.ubatch_tokens) == (True, 2048) and faster > rate


def test_bf16_is_slow_without_its_matrix_units(tmp_path):
    rows = [f"RX 7900 XTX,Llama-3.1-8B,,gguf-{f},,1,512,,prefill,9,Vulkan" for f in ("f16", "bf16")]
    fast, slow = (scored(tmp_path, row).expected for row in rows)
    assert slow < 0.6 * fast
