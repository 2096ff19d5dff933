"""Folded scales: float outputs of a block stay equal in every family; its inputs are divided."""

import dataclasses

import numpy as np
import pytest
from _helpers.blocks import FAMILIES, config_of, random_block, run, statistics_of

from sim.methods.block import Block
from sim.methods.folding import SITES, check_site, folds
from sim.model.online import Online
from sim.model.tensors import fused_members

CASES = sorted(path.parent.name for path in FAMILIES.glob("*/golden.safetensors"))
#: Sites that absorb a scale, where not all four.
LEGAL = {
    "gpt2": ("qkv", "o", "gate_up"),
    "phi": ("qkv", "o", "gate_up"),
    "opt-post-norm": ("o", "down"),
}


def random_scales(fold, found: Block) -> np.ndarray:
    channels = found.statistics[fold.sites[0]].amax
    count = fold.by_scale(channels).shape[1]
    return np.exp(np.random.default_rng(1).standard_normal(count) / 2).astype(np.float32)


def error(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max() / np.abs(first).max())


@pytest.mark.parametrize("case", CASES)
def test_float_outputs_stay_equal_and_inputs_are_divided(case):
    found, states = random_block(config_of(case))
    out, before = run(found, states)
    for fold in folds(found.config):
        scales = random_scales(fold, found)
        fold.apply(found, scales)
        changed, after = run(found, states)
        assert error(out, changed) < 1e-5, fold
        for site in fold.sites:
            assert error(before[site] / fold.by_channel(scales), after[site]) < 1e-5
        before = after
    for site, expected in statistics_of(found, states).items():
        statistics = found.statistics[site]
        for name in ("hessian", "amax", "magnitude", "sample"):
            assert error(getattr(expected, name), getattr(statistics, name)) < 1e-5, (site, name)


@pytest.mark.parametrize("case", CASES)
def test_outputs_change_if_the_producer_is_not_divided(case):
    for fold in folds(config_of(case)):
        found, states = random_block(config_of(case))
        out, _ = run(found, states)
        kept = {name: t for name, t in found.tensors.items() if name.startswith(fold.producer)}
        fold.apply(found, random_scales(fold, found))
        assert all((found.tensors[name] != tensor).any() for name, tensor in kept.items())
        found.tensors |= kept
        assert error(out, run(found, states)[0]) > 1e-3, fold


@pytest.mark.parametrize("case", CASES)
def test_folds_are_the_legal_sites_and_reach_every_linear_layer_that_reads_them(case):
    config = config_of(case)
    legal = LEGAL.get(case, SITES)
    assert [site for site in SITES if any(site in f.sites for f in folds(config))] == list(legal)
    reached = [member for fold in folds(config) for member in fold.consumers(config)]
    members = fused_members(config)
    assert sorted(reached) == sorted(m for site in legal for m in members[site])
    for site in legal:
        check_site(config, site)


@pytest.mark.parametrize("site", ["o", "down"])
def test_channels_that_a_run_time_transform_mixes_are_refused(site):
    config = dataclasses.replace(config_of("llama"), online=Online(**{site: 2}))
    assert not any(site in fold.sites for fold in folds(config))
    message = (
        f"^llama can't absorb scales at {site}: an online Hadamard transform mixes its channels$"
    )
    with pytest.raises(ValueError, match=message):
        check_site(config, site)


GELU = "its gelu_tanh changes when its input is scaled; a gated MLP or ReLU would allow it"
RESIDUAL = "its norms follow the residual addition, so their outputs are the residual stream too"
REFUSED = [("gpt2", "down", GELU), ("phi", "down", GELU), ("opt-post-norm", "qkv", RESIDUAL)]


@pytest.mark.parametrize(("case", "site", "reason"), REFUSED)
def test_other_sites_are_refused_with_the_reason(case, site, reason):
    config = config_of(case)
    with pytest.raises(ValueError) as refused:
        check_site(config, site)
    assert str(refused.value) == f"{config.family} can't absorb scales at {site}: {reason}"


def test_attention_and_mlp_of_a_parallel_block_share_one_scale():
    (shared, *_) = folds(config_of("phi"))
    assert shared.sites == ("qkv", "gate_up")


def test_query_heads_that_share_a_value_head_share_its_scales():
    config = config_of("llama")
    fold = next(fold for fold in folds(config) if fold.sites == ("o",))
    count = config.kv_heads * config.head_dim
    channels = fold.by_channel(np.arange(count, dtype=np.float32))
    heads = channels.reshape(config.heads, config.head_dim)
    group = config.heads // config.kv_heads
    assert group > 1
    assert (heads[:group] == np.arange(config.head_dim)).all()
    assert (fold.by_scale(channels) == np.arange(count)).all()
