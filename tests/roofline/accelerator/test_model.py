"""Whole models on accelerators."""

import pytest

from hw.accelerator import load_accelerator
from roofline.accelerator.model import WeightBits, model_cost, model_gemms
from roofline.accelerator.published_bitmod import published_cost
from roofline.model.model_shape import load_model

FP16 = WeightBits(code_bits=16)
BITMOD = WeightBits(code_bits=3, group_bits=10, group=128)


@pytest.mark.parametrize(
    "name,parameters", [("llama-2-7b", 6_607_077_376), ("llama-3-8b", 7_504_658_432)]
)
def test_linear_layers_have_the_models_weights(name, parameters):
    machine = load_accelerator("fp16-28nm")
    gemms = model_gemms(load_model(name), FP16, machine, tokens=1, context=256)
    linear = [gemm for gemm in gemms if gemm.name not in ("scores", "values")]
    assert sum(gemm.macs for gemm in linear) == parameters


def test_attention_does_two_products_of_every_head_and_context():
    shape = load_model("llama-3-8b")
    gemms = model_gemms(shape, BITMOD, load_accelerator("bitmod"), tokens=256, context=256)
    attention = [gemm for gemm in gemms if gemm.name in ("scores", "values")]
    assert sum(gemm.macs for gemm in attention) == 2 * 32 * 32 * 128 * 256 * 256
    assert {gemm.weight_bits for gemm in attention} == {8}


def test_a_token_reads_every_weight_and_all_keys_and_values_once():
    cost = model_cost(load_model("llama-2-7b"), FP16, load_accelerator("fp16-28nm"), "decode")
    weights, cache = 2 * 6_607_077_376, 2 * 2 * 32 * 4096 * 256
    assert 0 < cost.traffic_bytes / (weights + cache) - 1 < 0.001


def test_fill_drain_and_scaling_make_the_array_busy_for_longer_than_published():
    for design, machine, bits in (("fp16", "fp16-28nm", FP16), ("bitmod-ly", "bitmod", BITMOD)):
        cost = model_cost(load_model("llama-2-7b"), bits, load_accelerator(machine), "decode")
        published = published_cost(design, "llama-2-7b", "token")
        assert 1 < cost.cycles / published.cycles < 1.05, design
