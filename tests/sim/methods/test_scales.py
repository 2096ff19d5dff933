"""Scaling steps: the choice of each against float64, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
from _helpers.blocks import INPUTS, QUANTIZED, WEIGHTS, config_of, quantized_block

from numerics import fake_quantize
from numerics.solvers.scales import awq_scales, smooth_scales
from sim.methods.block import Block
from sim.methods.folding import SITES, folds
from sim.methods.scales import Aqas, Awq, SmoothQuant
from sim.model.layer_numerics import LayerNumerics

QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def output_error(found: Block, members, site, scales, activations=None) -> float:
    """Return the output error of weights, and of inputs if given, over the sample in float64."""
    x = found.statistics[site].sample
    total = 0.0
    for member in members:
        weight = found.tensors[f"{member}.weight"]
        w = np.asarray(fake_quantize(weight * scales, WEIGHTS), np.float64)
        total += float(((x @ (w / scales - weight).T) ** 2).sum())
        if activations is not None:
            rounding = np.asarray(fake_quantize(x / scales, activations), np.float64) - x / scales
            total += float(((rounding @ w.T) ** 2).sum())
    return total


def scales_of(before: Block, after: Block) -> np.ndarray:
    """Return the scales of the site qkv, from the norm that absorbed them."""
    return before.tensors["attn_norm.weight"] / after.tensors["attn_norm.weight"]


def powers(count: int = 20) -> list[float]:
    return [i / count for i in range(count)]


def test_awq_takes_the_power_of_the_mean_with_the_least_output_error():
    before, after = quantized_block(), quantized_block()
    Awq(sites="qkv").apply(after)
    mean = np.abs(before.statistics["qkv"].sample).mean(axis=0)
    candidates = [awq_scales(mean, power) for power in powers()]
    errors = [output_error(before, QKV, "qkv", s) for s in candidates]
    best = int(np.argmin(errors))
    assert best > 0
    assert scales_of(before, after) == pytest.approx(candidates[best], rel=1e-5)
    assert errors[best] < 0.9 * errors[0]


def test_one_candidate_leaves_every_bit():
    before, after = quantized_block("gemma2"), quantized_block("gemma2")
    for step in (Awq(candidates=1), Aqas(candidates=1, sites="o")):
        tensors = dict(after.tensors)
        step.apply(after)
        if isinstance(step, Awq):
            assert all((after.tensors[n] == t).all() for n, t in before.tensors.items())
            assert all(after.tensors[n] is t for n, t in tensors.items())


def test_smoothquant_scales_the_inputs_of_norms_by_the_published_formula():
    before, after = quantized_block(), quantized_block()
    SmoothQuant(alpha=0.7).apply(after)
    weights = np.max([np.abs(before.tensors[f"{m}.weight"]).max(axis=0) for m in QKV], axis=0)
    expected = smooth_scales(before.statistics["qkv"].amax, weights, 0.7)
    assert scales_of(before, after) == pytest.approx(expected, rel=1e-5)
    for name in ("self_attn.o_proj.weight", "mlp.down_proj.weight"):
        assert (
            after.tensors[name] is before.tensors[name]
            or (after.tensors[name] == before.tensors[name]).all()
        )


def test_a_percentile_keeps_one_token_from_setting_the_scales():
    calm, spiked, clipped = quantized_block(), quantized_block(), quantized_block()
    for found in (spiked, clipped):
        statistics = found.statistics["qkv"]
        statistics.sample = statistics.sample.copy()
        statistics.sample[0, 5] = 1e4
        statistics.amax = np.abs(statistics.sample).max(axis=0)
    start = quantized_block()
    chosen = []
    for found, percentile in ((calm, 90), (spiked, 100), (clipped, 90)):
        SmoothQuant(percentile=float(percentile)).apply(found)
        chosen.append(scales_of(start, found))
    assert chosen[2] == pytest.approx(chosen[0], rel=0.5)
    assert chosen[1][5] > 10 * chosen[2][5]


def test_aqas_takes_the_candidate_of_both_formulas_with_the_least_joint_error():
    before, after = quantized_block(), quantized_block()
    Aqas(sites="qkv").apply(after)
    sample = np.abs(before.statistics["qkv"].sample)
    weights = np.max([np.abs(before.tensors[f"{m}.weight"]).max(axis=0) for m in QKV], axis=0)
    candidates = [awq_scales(sample.mean(axis=0), power) for power in powers()]
    candidates += [smooth_scales(sample.max(axis=0), weights, power) for power in powers()]
    errors = [output_error(before, QKV, "qkv", s, INPUTS) for s in candidates]
    best = int(np.argmin(errors))
    assert scales_of(before, after) == pytest.approx(candidates[best], rel=1e-5)
    assert errors[best] < 0.9 * errors[0]


@pytest.mark.parametrize("step", [Awq(), SmoothQuant(sites="all"), Aqas(sites="all")])
def test_rounded_scales_are_powers_of_two(step):
    before, after = quantized_block(), quantized_block()
    dataclasses.replace(step, rounding="power-of-two").apply(after)
    scales = scales_of(before, after)
    assert (scales != 1).any()
    assert (np.frexp(scales)[0] == 0.5).all()


def test_query_heads_of_a_value_head_get_one_scale():
    before, after = quantized_block(), quantized_block()
    Awq(sites="o").apply(after)
    config = before.config
    group = config.heads // config.kv_heads
    name = "self_attn.o_proj.weight"
    channels = (after.tensors[name] / before.tensors[name])[0]
    heads = channels.reshape(config.kv_heads, group, config.head_dim)
    assert group > 1
    assert heads == pytest.approx(np.repeat(heads[:, :1], group, axis=1), rel=1e-5)


def test_a_shared_norm_is_scaled_only_with_all_layers_that_read_it():
    before, after = quantized_block("phi"), quantized_block("phi")
    after.sites = frozenset({"qkv"})
    Awq().apply(after)
    assert all(
        after.tensors[n] is t or (after.tensors[n] == t).all() for n, t in before.tensors.items()
    )
    after.sites = frozenset(SITES)
    Awq(sites="qkv").apply(after)
    ratio = after.tensors["mlp.up_proj.weight"] / before.tensors["mlp.up_proj.weight"]
    assert ratio[0] == pytest.approx(scales_of(before, after), rel=1e-4)


def test_sites_without_quantized_layers_stay_as_they_are():
    before, after = quantized_block(), quantized_block()
    after.schemes = {"mlp.down_proj": WEIGHTS}
    Awq().apply(after)
    changed = {n for n, t in before.tensors.items() if (after.tensors[n] != t).any()}
    assert changed == {"mlp.up_proj.weight", "mlp.down_proj.weight"}


def test_every_legal_site_of_a_family_is_scaled():
    before, after = quantized_block("qwen2"), quantized_block("qwen2")
    SmoothQuant(sites="all").apply(after)
    producers = {fold.producer for fold in folds(before.config)}
    changed = {
        n.rpartition(".")[0] for n, t in before.tensors.items() if (after.tensors[n] != t).any()
    }
    assert producers <= changed


WRONG = [
    (lambda: Awq(candidates=0), "candidates of awq is 0; it can be 1 to 1000"),
    (
        lambda: SmoothQuant(alpha=1.5),
        "alpha of smoothquant is 1.5; it must lie in 0..1, the usual one is 0.5",
    ),
    (
        lambda: SmoothQuant(percentile=0.0),
        (
            "percentile of smoothquant is 0; it must lie above 0 and be at most 100, the largest "
            "magnitude"
        ),
    ),
    (
        lambda: Aqas().check(config_of("llama"), LayerNumerics()),
        (
            "aqas chooses scales for quantized activations; add --activations int8, or take awq "
            "for float ones"
        ),
    ),
    (
        lambda: Awq(sites="down").check(config_of("gpt2"), QUANTIZED),
        (
            "gpt2 can't absorb scales at down: its gelu_tanh changes when its input is scaled; "
            "a gated MLP or ReLU would allow it"
        ),
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_errors_say_what_works(make, message):
    with pytest.raises(ValueError) as refused:
        make()
    assert str(refused.value) == message
