"""Tables of measured points: their words, and scores."""

import pytest

from hw.matching import find_machine
from roofline.measured import Unmatched, read_points, read_recipe
from roofline.memory import weight_bytes
from roofline.model_names import find_model, known_model
from roofline.model_shape import load_model
from roofline.validate import validate

HEAD = (
    "device,model,params,weight_format,act_format,batch,prompt_len,gen_len,phase,tokens_per_s,"
    "source\n"
)
#: Points that the fit uses too, which its factors therefore have to meet.
ROWS = (
    HEAD
    + """\
"Ryzen 7950X, 4 threads",Llama-3.1-8B,8.03e9,gguf-Q4_0,,1,,128,decode,13.88,s
"Ryzen 7950X, 4 threads",Llama-3.1-8B,8.03B,gguf-Q8_0,,1,,128,decode,7.79,s
"Ryzen 7950X, 16 threads",Llama-3.1-8B,8.03e9,gguf-Q4_0,,1,512,,prefill,165.26,s
"TR 5975WX, 32 threads",Llama-3.1-8B,8.03e9,gguf-BF16,,1,512,,prefill,152.8,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s
TR Pro 7995WX,TinyLlama-1.1B,1.1e9,f16,,1,,128,decode,52,s
Abacus,Llama-3.1-8B,8e9,f16,,1,,128,decode,52,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,sleep,3.94,s
i5-6500,Mystery,,q4_0,,1,,128,decode,3.94,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,fast,s
i5-6500,LLaMA-7B,6.7e9,w4b4,,1,,128,decode,3,s
A100 80GB,Llama-2-70B,69e9,f16,,,512,128,e2e_max,100,s
A100 80GB,Llama-2-7B,6.7e9,f16,,,512,128,e2e_max,100,s
A100 80GB,Llama-2-7B,6.7e9,f16,,1,512,128,decode,1000,s
"""
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(ROWS)
    return path


def test_rows_are_scored_and_the_rest_is_told(table):
    found = validate(table)
    assert [row.point.line for row in found.scored] == [2, 3, 4, 5, 6, 7, 14, 15]
    reasons = {row.line: row.reason for row in found.unmatched}
    assert {line: words in reasons[line] for line, words in {
        8: "unknown machine 'Abacus'", 9: "phase 'sleep'", 10: "unknown model 'Mystery'",
        11: "tokens_per_s is 'fast'", 12: "unknown recipe", 13: "no sequence fits",
    }.items()} == dict.fromkeys(range(8, 14), True)  # fmt: skip
    assert [row.holds for row in found.scored] == [True] * 7 + [False]
    fit = [row for row in found.scored if row.point.line < 8]
    assert all(row.error < 0.3 for row in fit)
    by_group = {score.group: score for score in found.scores}
    decode = by_group["cpu", "decode", "all"]
    assert decode.rows == 4 and decode.holds == 1.0
    errors = [row.error for row in fit if row.point.phase == "decode"]
    assert decode.mean_error == pytest.approx(sum(errors) / 4)
    assert "times the bound" in next(r for r in found.worst if r.point.line == 15).reason


@pytest.mark.parametrize(
    "text,act,kernel,bits",
    [
        ("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", "", "gguf", None),
        ("f16 (14.96 GiB)", "f16", "gguf", 16.0),
        ("exl2 4.65bpw", "", "dense", 4.65),
        ("3.0 bpw EXL2", "", "dense", 3.0),
        ("fp8", "fp8", "dense", 8.0),
        ("w4a16 g128", "", "dense", 4.125),
        ("w4a16 g64 (AWQ)", "fp16", "dense", 4.25),
        ("INT4 AWQ", "fp16", "dense", 4.125),
        ("int8", "int8", "dense", 8.0),
        ("i2_s", "int8", "gguf", 2.0),
        ("TL2", "int8", "lookup", 5 / 3),
        ("int2 (T-MAC)", "int8", "lookup", 2.125),
        ("T-MAC 4-bit", "", "lookup", 4.125),
        ("Q4_0", "", "gguf", 4.5),
        ("bf16", "", "dense", 16.0),
        ("nvfp4", "fp4", "dense", 4.5),
        ("4-bit", "fp16", "dense", 4.125),
        ("ternary", "", "gguf", 2.0),
    ],
)
def test_weight_formats_read_like_tables_write_them(text, act, kernel, bits):
    shape = load_model("llama-3-8b")
    recipe = read_recipe(text, act, shape)
    assert recipe.kernel == kernel
    if bits is not None:
        per_weight = recipe.weights.bits_per_weight(4096, 4096)
        assert per_weight == pytest.approx(bits, abs=2e-3 if bits != 8.0 else 0.005)


@pytest.mark.parametrize(
    "text,act,kv",
    [
        ("w4a16 g128, kv8", "", "int8"), ("w4a16", "fp16 (KV fp8)", "fp8_e4m3"),
        ("fp8", "fp8", "fp8_e4m3"), ("w8a8", "int8", "fp16"), ("gguf-Q4_K_M", "", "fp16"),
    ],
)  # fmt: skip
def test_the_cache_is_read_from_the_words(text, act, kv):
    assert read_recipe(text, act, load_model("llama-3-8b")).kv == kv


def test_a_file_size_sets_the_bytes():
    shape = load_model("llama-3-8b")
    for text, size in (("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", 4.58), ("f16 (14.96 GiB)", 14.96)):
        assert weight_bytes(shape, read_recipe(text, "", shape)) / 2**30 == pytest.approx(size)
    by_bits = read_recipe("gguf-Q4_K_M (4.90 bpw)", "", shape)
    assert weight_bytes(shape, by_bits) * 8 / shape.params == pytest.approx(4.90)


@pytest.mark.parametrize(
    "text,params,name",
    [
        ("meta-llama/Llama-2-7b-chat-hf", None, "llama-2-7b"),
        ("LLaMA 3 8B Instruct", 8.03e9, "llama-3-8b"),
        ("Llama-3.3-70B-Instruct", None, "llama-3.3-70b"),
        ("Mistral-7B-Instruct-v0.3", None, "mistral-7b-v0.3"),
        ("Qwen2.5-0.5B", None, "qwen2.5-0.5b"),
        ("gemma-3-27b-it", None, "gemma-3-27b"),
        ("Qwen3-30B-A3B", None, "qwen3-30b-a3b"),
        ("BitNet-3B", 3.3e9, "bitnet-b1.58-3b"),
        ("bitnet_b1_58-3B", 3.3e9, "bitnet-b1.58-3b"),
        ("dummy-3.8B", 3.8e9, None),
        ("llama-2-7b", 70e9, "llama-2-70b"),
    ],
)
def test_models_are_named_freely(text, params, name):
    found = find_model(text, params=params)
    assert (found and found.name) == name


def test_unknown_models_are_suggested():
    with pytest.raises(ValueError, match=r"did you mean 'llama-3\.1-8b'"):
        known_model("lama-3.1-8bb")


@pytest.mark.parametrize(
    "content,words",
    [
        ("device,model\n", "column 'params' is missing"),
        ("", "column 'device' is missing"),
        (HEAD, "no row could be matched"),
        (HEAD + "Foo,,,,,,,,decode,1,\n", "line 2"),
    ],
)
def test_no_table(tmp_path, content, words):
    path = tmp_path / "points.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        validate(path)


def test_files_are_bounded(tmp_path):
    path = tmp_path / "points.csv"
    with pytest.raises(ValueError, match="cannot be read"):
        list(read_points(path))
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="UTF-8"):
        list(read_points(path))
    path.write_bytes(b"x" * (5 << 20))
    with pytest.raises(ValueError, match="longer than"):
        list(read_points(path))
    path.write_text(ROWS)
    assert sum(isinstance(row, Unmatched) for row in read_points(path)) == 5


@pytest.mark.parametrize(
    "text,name,count",
    [
        ("A100", "a100-sxm-80gb", 1),
        ("8xA100-80G", "a100-sxm-80gb", 8),
        ("A100-SXM4-40GB x8", "a100-sxm-40gb", 8),
        ("H100x8", "h100-sxm", 8),
        ("100x A100", "a100-sxm-80gb", 100),
        ("dual RTX 3090", "rtx-3090", 2),
        ("rtx4090", "rtx-4090", 1),
        ("EPYC 9654 x86", "epyc-9654", 1),
        ("Core i7-12700H laptop", "core-i7-12700h", 1),
    ],
)
def test_names_of_machines_in_tables(text, name, count):
    found = find_machine(text)
    assert (found.machine.name, found.count) == (name, count)


@pytest.mark.parametrize("text", ["RTX 4090 Laptop", "Xeon E5-2690 v4", "4x", "nothing"])
def test_other_machines_are_not_taken_for_a_known_one(text):
    with pytest.raises(ValueError, match=r"unknown machine|no laptop's"):
        find_machine(text)


@pytest.mark.parametrize(
    "text,params,name",
    [
        ("llama 70B", 70.55e9, "llama-3.1-70b"),
        ("llama 70B", 68.98e9, "llama-2-70b"),
        ("llama 8B", 8.03e9, "llama-3.1-8b"),
        ("llama 7B", 6.74e9, "llama-7b"),
        ("DeepSeek-R1", 671e9, "deepseek-v3"),
        ("DeepSeek-R1-Distill-Qwen-7B", 7.6e9, "qwen2.5-7b"),
        ("DeepSeek-R1-Distill-Llama-8B", 8.03e9, "llama-3.1-8b"),
        ("phi3 3B", 3.82e9, "phi-3-mini"),
    ],
)
def test_names_of_models_in_tables(text, params, name):
    assert find_model(text, params=params).name == name


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
    ],
)
def test_names_of_formats_in_tables(text, name):
    assert read_recipe(text, "", load_model("llama-3-8b")).name == name


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"params": "0"}, "params is '0', not above 0"),
        ({"batch": "1e400"}, "batch is '1e400'; a whole number up to 10,000,000"),
        ({"batch": "1.5"}, "batch is '1.5'; a whole number"),
        ({"gen_len": "1e12"}, "gen_len is '1e12'; a whole number"),
    ],
)
def test_a_row_that_cannot_be_is_told_and_the_others_count(tmp_path, changes, words):
    row = {"device": "A100", "model": "llama-2-7b", "params": "6.7e9", "weight_format": "fp16",
           "act_format": "", "batch": "1", "prompt_len": "128", "gen_len": "64",
           "phase": "decode", "tokens_per_s": "80", "source": "s"}  # fmt: skip
    rows = [",".join(each.values()) for each in (row | changes, row)]
    path = tmp_path / "points.csv"
    path.write_text("\n".join([",".join(row), *rows]))
    bad, good = read_points(path)
    assert words in bad.reason and good.batch == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.upper().replace("Q4_0", "q4_0", 1),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("model,params", " model , params "),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    ],
    ids=["upper case", "semicolons", "tabs", "blanks", "as Windows writes it"],
)
def test_tables_as_spreadsheets_write_them(tmp_path, change):
    path = tmp_path / "points.csv"
    row = "i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s\n"
    path.write_bytes(change(HEAD + row).encode())
    (point,) = read_points(path)
    assert point.found.machine.name == "core-i5-6500" and point.tokens_per_s == 3.94


@pytest.mark.parametrize("rate", ["1e400", "nan", "-3", "inf", "0", "", "1e-400"])
def test_a_rate_that_is_no_positive_number_is_told(tmp_path, rate):
    path = tmp_path / "points.csv"
    path.write_text(f"{HEAD}i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,{rate},s\n")
    (row,) = read_points(path)
    assert isinstance(row, Unmatched) and "tokens_per_s" in row.reason
