"""Shapes that stand in for models of which only name and size are known."""

import pytest

from roofline.measured.stand_in import shape_of_size, stand_in


@pytest.mark.parametrize(
    "text,params,kv_share",
    [
        ("Qwen1.5-72B-Chat", 72.3e9, 1), ("Qwen1.5-32B", 32.5e9, None), ("Qwen-72B", 72e9, 1),
        ("Vicuna-33B", 33e9, 1), ("lmsys/vicuna-33b-v1.3", 33e9, 1), ("MPT-30B", 30e9, 1),
        ("pythia-12b", 12e9, 1), ("bloom-176b", 176e9, 1), ("Baichuan2-13B", 13.9e9, 1),
        ("Falcon-7B", 7.2e9, 0), ("Falcon-40B", 41.8e9, None), ("StarCoder", 15.5e9, 0),
        ("Qwen3-VL-72B", 72e9, None), ("CodeLlama-70B", 69e9, None), ("Mystery-72B", 72e9, None),
    ],
)  # fmt: skip
def test_a_stand_in_has_the_attention_of_its_family(text, params, kv_share):
    shape = stand_in(text, params)
    assert shape.params == pytest.approx(params, rel=0.1)
    wanted = {1: shape.heads, 0: 1, None: shape_of_size(params).kv_heads}[kv_share]
    assert shape.kv_heads == wanted


@pytest.mark.parametrize("params", [125e6, 7e9, 30e9, 100e9, 300e9, 1e12])
def test_a_model_of_which_only_the_size_is_known_has_no_experts(params):
    shape = shape_of_size(params)
    assert shape.experts is None and shape.window is None
    assert shape.params == pytest.approx(params, rel=0.35)
