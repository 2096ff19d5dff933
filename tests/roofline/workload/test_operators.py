"""Operators against values derived by hand, and against published counts of parameters."""

import numpy as np
import pytest

from roofline.measured.stand_in import shape_of_size
from roofline.model.model_shape import FOLDER, list_models, load_model, read_model
from roofline.runtime.serving_format import parse_format
from roofline.workload.operators import operators
from roofline.workload.step import Options, Sequences

FP16 = parse_format("fp16")
#: Parameters in blocks' linear layers, head, all; decode GOP of linear layers and of attention at
#: 2048; bytes of blocks and head in FP16 and in W4 with groups of 128 and an FP16 head; KV bytes of
#: 2048 tokens; prompt of 2048 in TOP, linear and causal attention.
FIRST_PRINCIPLES = {
    "llama-2-7b": (6_476_005_376, 131_072_000, 6_738_415_616, 13.214, 1.074, 13.2142, 3.6013,
                   1.0737, 26.526, 1.100),
    "llama-2-13b": (12_687_769_600, 163_840_000, 13_015_864_320, 25.703, 1.678, 25.7032, 6.8698,
                    1.6777, 51.969, 1.719),
    "llama-2-70b": (68_451_041_280, 262_144_000, 68_976_648_192, 137.426, 5.369, 137.4264, 35.8194,
                    0.6711, 280.376, 5.500),
    "llama-3-8b": (6_979_321_856, 525_336_576, 8_030_261_248, 15.009, 1.074, 15.0093, 4.6494,
                   0.2684, 28.588, 1.100),
}  # fmt: skip


def of_kind(found, kind, amount="ops"):
    return sum(float(getattr(op, amount)) for op in found if op.kind == kind)


def decode(name, fmt=FP16, batch=1, context=2047):
    return operators(load_model(name), fmt, [Sequences(batch=batch, new=1, context=context)])


@pytest.mark.parametrize("name", FIRST_PRINCIPLES)
def test_first_principles(name):
    blocks, head, total, linear, attention, fp16, w4, kv, prompt, seen = FIRST_PRINCIPLES[name]
    shape = load_model(name)
    assert (shape.linear_params, shape.head_params, shape.params) == (blocks, head, total)
    token = decode(name)
    assert of_kind(token, "linear") / 1e9 == pytest.approx(linear, abs=5e-4)
    assert of_kind(token, "attention") / 1e9 == pytest.approx(attention, abs=5e-4)
    assert sum(op.weight_bytes for op in token) / 1e9 == pytest.approx(fp16, abs=5e-5)
    packed = decode(name, parse_format("w4a16"))
    assert sum(op.weight_bytes for op in packed) / 1e9 == pytest.approx(w4, abs=5e-5)
    assert sum(op.kv_bytes for op in token) / 1e9 == pytest.approx(kv, abs=5e-5)
    prefill = operators(shape, FP16, [Sequences(batch=1, new=2048)])
    assert of_kind(prefill, "linear") / 1e12 == pytest.approx(prompt, abs=5e-4)
    assert of_kind(prefill, "attention") / 1e12 == pytest.approx(seen, abs=5e-4)


def test_all_positions_head_and_full_mask_give_the_published_count():
    # calflops publishes 1700.06 GFLOPs for Llama-2-7B and 128 tokens.
    options = Options(all_logits=True, causal=False)
    shape = load_model("llama-2-7b")
    found = operators(shape, FP16, [Sequences(batch=1, new=128)], options=options)
    total = of_kind(found, "linear") + of_kind(found, "attention")
    assert total / 1e9 == pytest.approx(1700.06, rel=1e-4)


@pytest.mark.parametrize(
    "name,params",
    [
        ("deepseek-v3", 671_026_419_200),
        ("deepseek-v2-lite", 15_706_484_224),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("gemma-2-2b", 2_614_341_888),
        ("phi-3-mini", 3_821_079_552),
        ("gpt2", 124_439_808),
        ("opt-1.3b", 1_315_758_080),
        ("smollm2-135m", 134_515_008),
        ("bitnet-b1.58-2b-4t", 2_412_820_480),
        ("gpt-oss-20b", 20_914_757_184),
    ],
)
def test_published_parameters(name, params):
    assert load_model(name).params == params


def test_there_are_many_models():
    assert len(list_models()) >= 30
    assert all(load_model(name).params > 0 for name in list_models())


def test_pairs_are_a_sum_over_tokens():
    for batch, new, context in ((1, 1, 0), (3, 5, 7), (2, 64, 100)):
        sequences = Sequences(batch=batch, new=new, context=context)
        for window in (None, 1, 8, 50, 1000):
            seen = [min(context + j, window or 10**9) for j in range(1, new + 1)]
            assert sequences.pairs(window) == batch * sum(seen)


def test_a_window_limits_what_decode_reads():
    local = load_model("gemma-3-4b")
    token = decode("gemma-3-4b", context=8191)
    layers = local.global_layers * 8192 + (local.layers - local.global_layers) * 1024
    assert sum(op.kv_bytes for op in token) == layers * 2 * local.kv_heads * local.head_dim * 2
    assert local.global_layers == 34 // 6


def test_few_tokens_hit_few_experts():
    shape = load_model("mixtral-8x7b")
    one = {op.name: op for op in decode("mixtral-8x7b")}
    many = {op.name: op for op in decode("mixtral-8x7b", batch=256)}
    expert = 2 * 4096 * 14336 * 2
    assert one["expert gate and up"].weight_bytes == pytest.approx(2 * expert * shape.layers)
    assert many["expert gate and up"].weight_bytes == pytest.approx(8 * expert * shape.layers)
    half = decode("mixtral-8x7b", batch=4)
    hit = 8 * (1 - (1 - 2 / 8) ** 4)
    found = {op.name: op for op in half}["expert gate and up"]
    assert found.weight_bytes == pytest.approx(hit * expert * shape.layers)
    assert found.ops == 2 * 4 * 2 * 4096 * 28672 * shape.layers


def test_latent_attention_caches_one_vector_for_all_heads():
    found = {op.name: op for op in decode("deepseek-v3", context=999)}["attention"]
    assert found.kv_bytes == 61 * 1000 * 1152
    # Absorbed: 512 + 64 values a score, 512 a result.
    assert found.ops == 2 * 128 * (576 + 512) * 1000 * 61
    prompt = operators(load_model("deepseek-v3"), FP16, [Sequences(batch=1, new=2)])
    attention = next(op for op in prompt if op.name == "attention")
    assert attention.ops == 2 * 128 * (192 + 128) * 3 * 61


def test_a_mixed_batch_is_the_sum_of_its_parts():
    shape = load_model("llama-3-8b")
    chunk, token = Sequences(batch=1, new=256, context=512), Sequences(batch=7, new=1, context=900)
    mixed = operators(shape, FP16, [chunk, token])
    alone = [operators(shape, FP16, [part]) for part in (chunk, token)]
    for kind in ("linear", "attention"):
        assert of_kind(mixed, kind) == sum(of_kind(found, kind) for found in alone)
    # Weights are read once for both.
    weights = of_kind(mixed, "linear", "weight_bytes")
    assert weights == of_kind(alone[0], "linear", "weight_bytes")


def test_unfused_attention_moves_scores_and_naive_kernels_repeat_keys():
    shape = load_model("llama-3-8b")
    step = [Sequences(batch=1, new=1024)]
    fused = operators(shape, FP16, step)
    plain = operators(shape, FP16, step, options=Options(fused_attention=False))
    extra = sum(op.traffic_bytes for op in plain) - sum(op.traffic_bytes for op in fused)
    assert extra == 4 * 32 * 32 * 1024 * 1024 * 2
    naive = operators(shape, FP16, step, options=Options(shares_kv=False))
    assert of_kind(naive, "attention", "kv_bytes") == 4 * of_kind(fused, "attention", "kv_bytes")


def test_long_prompts_read_keys_again_where_the_chip_is_small():
    shape = load_model("llama-2-7b")
    step = [Sequences(batch=1, new=1024)]
    rows = 100
    small = operators(shape, FP16, step, on_chip_bytes=rows * 4 * 128 * 2)
    large = operators(shape, FP16, step)
    assert of_kind(small, "attention", "kv_bytes") == 11 * of_kind(large, "attention", "kv_bytes")


def test_separate_products_read_inputs_again():
    shape = load_model("llama-2-7b")
    step = [Sequences(batch=1, new=16)]
    apart = operators(shape, FP16, step, options=Options(fused_products=False))
    joined = operators(shape, FP16, step)
    assert of_kind(apart, "linear") == of_kind(joined, "linear")
    extra = sum(op.traffic_bytes for op in apart) - sum(op.traffic_bytes for op in joined)
    assert extra == 3 * 16 * 4096 * 2 * 32


def test_amounts_may_be_arrays():
    shape, batches = load_model("llama-3-8b"), np.array([1, 8])
    found = operators(shape, FP16, [Sequences(batch=batches, new=1, context=100)])
    for i, batch in enumerate(batches):
        one = operators(shape, FP16, [Sequences(batch=int(batch), new=1, context=100)])
        for a, b in zip(found, one, strict=True):
            assert np.broadcast_to(a.traffic_bytes, 2)[i] == pytest.approx(b.traffic_bytes)


def test_a_shape_of_unknown_sizes():
    for params in (0.7e9, 3.9e9, 7e9, 30e9, 100e9):
        assert shape_of_size(params).params == pytest.approx(params, rel=0.05)
    with pytest.raises(ValueError, match="more than 0"):
        shape_of_size(0)


def test_a_wrong_model_file(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text('title = "m"\nlayres = 3\n')
    with pytest.raises(ValueError, match=r"line 2: unknown key 'layres'; did you mean 'layers'"):
        read_model(path)


@pytest.mark.parametrize(
    "name,key,value",
    [
        ("llama-2-7b", "intermediate", 0),
        ("llama-2-7b", "max_context", 0),
        ("mistral-7b", "window", 0),
        ("mixtral-8x7b", "per_token", 9),
        ("mixtral-8x7b", "count", 0),
    ],
)
def test_a_size_that_no_model_has_is_refused_with_its_line(tmp_path, name, key, value):
    lines = (FOLDER / f"{name}.toml").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith(f"{key} ="))
    lines[place] = f"{key} = {value}"
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"line {place + 1}: {key} is {value}, (less|more) than"):
        read_model(path)


@pytest.mark.parametrize("params", [1e8, 1e9, 1e10, 1e11, 4e11, 2e12])
def test_a_model_of_unknown_sizes_has_no_experts(params):
    shape = shape_of_size(params)
    assert shape.experts is None and shape.params == pytest.approx(params, rel=0.25)
