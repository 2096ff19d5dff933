"""``qsim plan``: the recommendation, what it says, and what it says would fit."""

import json
import re

import pytest

from roofline.runtime.serving_format import parse_format
from sim.cli import main
from sim.errors import UserError
from sim.planner.answer import WIDTH, answer
from sim.planner.choice import offers
from sim.planner.command import run_plan
from sim.planner.losses import find_losses
from sim.planner.options import PlanOptions

LOSSES = find_losses("embedded", ())


def plan(model="llama-3.1-8b", hw=("rtx-4090",), **more):
    return run_plan(PlanOptions(models=(model,), machines=hw, **more))


def names(found):
    return [(one.name, one.cache) for one in found]


def test_the_fastest_format_within_the_loss_is_recommended():
    choice = plan(context=8192, users=4).choice
    assert choice.best is choice.feasible[0] and choice.is_within_loss
    rivals = [one for one in choice.feasible if one.loss and one.loss.nats <= 0.05]
    fastest = max(one.tokens_per_s for one in rivals)
    assert choice.best.tokens_per_s == pytest.approx(fastest, rel=0.005)
    # FP8 and INT8 take the same time on an H100, and INT8 loses less.
    assert plan(hw=("h100-sxm",), users=16).choice.best.name == "w8a8"
    # FP16 needs 15.0 GiB of weights and 4 GiB of cache, and 21 of 24 GiB are for them.
    assert ("fp16", "fp16") in names(choice.feasible)
    # A stricter loss leaves formats of eight bits, and a loss that nothing meets the widest.
    strict = plan(context=8192, users=4, formats=("w4a16", "fp8", "q4_0"), loss=0.01).choice
    assert strict.best.name == "fp8"
    none = plan(context=8192, users=4, formats=("w4a16", "nvfp4"), loss=0.001).choice
    assert none.best.name == "nvfp4" and not none.is_within_loss


def test_a_limit_on_time_leaves_out_what_is_slower():
    everything = plan(users=4).choice
    limit = sorted(one.tpot_s[1] for one in everything.feasible)[2]
    choice = plan(users=4, tpot=limit).choice
    assert len(choice.feasible) == 3
    assert all(one.tpot_s[1] <= limit for one in choice.feasible)
    assert all(one.tpot_s[1] > limit for one in choice.slow)
    assert plan(users=4, ttft=1e-6).choice.best is None


def test_an_eight_bit_cache_is_tried_where_fp16_does_not_fit():
    choice = plan(context=8192, users=20, formats=("fp8", "q8_0", "w4a16")).choice
    assert ("fp8", "fp8") in names(choice.feasible)
    assert {("fp8", "fp16"), ("q8_0", "fp16")} <= set(names(choice.large))
    assert ("w4a16", "fp8") in names((*choice.feasible, *choice.large))


def test_what_would_fit_fits():
    load = dict(context=8192, users=40)
    (large, *_) = plan(formats=("w4a16",), kv="fp16", **load).choice.large
    found = offers(large)
    assert [text.split()[0] for text in found] == ["--users", "--context", "--hw"]
    users, tokens = (int(text.split()[1]) for text in found[:2])
    machines = found[2].removeprefix("--hw ").strip("'")
    for more in (load | {"users": users}, load | {"context": tokens}):
        assert plan(formats=("w4a16",), kv="fp16", **more).choice.best
    for more in (load | {"users": users + 1}, load | {"context": tokens + 16}):
        assert not plan(formats=("w4a16",), kv="fp16", **more).choice.best
    assert plan(formats=("w4a16",), kv="fp16", hw=(machines,), **load).choice.best


def test_without_a_machine_the_cheapest_comes_first():
    found = plan("llama-3.1-70b", hw=(), users=16, tpot=0.05, formats=("w4a16",)).choice
    prices = [one.usd_per_hour for one in found.feasible if one.loss and one.loss.nats <= 0.05]
    assert found.best.usd_per_hour == min(prices)


@pytest.mark.parametrize(
    "name,weights,activations",
    [
        ("w4a16", "int4", "float32"),
        ("fp8", "fp8_e4m3", "fp8_e4m3"),
        ("w8a8", "int8:channel", "int8"),
        ("q4_0", "q4_0", "float32"),
        ("nvfp4", "nvfp4", "float32"),
        ("fp16", "float32", "float32"),
    ],
)
def test_losses_are_rows_of_the_table(name, weights, activations):
    (row,) = [
        row
        for row in LOSSES.table.rows
        if (row.weights, row.activations, row.kv, row.head, row.pe, row.method)
        == (weights, activations, "float32", "float32", "", "rtn")
    ]
    assert LOSSES.of(parse_format(name)).nats <= row.kl_nats
    assert LOSSES.of(parse_format(name)).nats == pytest.approx(row.kl_nats)


def test_nothing_is_said_of_formats_that_nobody_measured():
    assert LOSSES.of(parse_format("q4_k_m")) is None
    assert not LOSSES.of(parse_format("w4a16", kv="nvfp4")).is_whole
    assert "nothing was measured on llama-3.1-8b" in text_of(users=2).replace("\n         ", " ")


def text_of(model="llama-3.1-8b", **more):
    options = PlanOptions(models=(model,), **({"machines": ("rtx-4090",)} | more))
    found = run_plan(options)
    return answer(found.choice, found.losses, options)


@pytest.mark.parametrize(
    "more",
    [
        {"context": 8192, "users": 4},
        {"context": 8192, "users": 400},
        {"users": 4, "ttft": 1e-6},
        pytest.param({"model": "gpt-oss-120b", "machines": (), "users": 8}, marks=pytest.mark.slow),
        {"model": "deepseek-v3", "machines": ("8x h200-sxm", "8x b200"), "users": 64},
        {"machines": ("raspberry-pi-5",)},
        {"model": "qwen3-30b-a3b", "machines": ("2x rtx-pro-6000-blackwell",), "users": 64},
    ],
)
def test_every_line_fits_80_columns(more):
    text = text_of(**more)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert re.search(r"^(Take|Nothing) ", text, re.M)


def test_an_expectation_far_from_its_bound_says_what_binds():
    binds = [line for line in text_of("gpt-oss-20b", machines=("h100-sxm",)).splitlines()]
    assert any(line.startswith("binds") for line in binds)


def test_json_has_every_deployment_and_one_recommendation(capsys):
    with pytest.raises(SystemExit) as end:
        main(["plan", "llama-3.2-1b", "--hw", "l4", "--users", "2", "--tpot", "50ms", "--json"])
    assert end.value.code == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(one["recommended"] for one in records) == 1 and records[0]["recommended"]
    parts = ("weight_bytes", "kv_bytes", "activation_bytes", "reserve_bytes")
    for one in records:
        assert one["fits"] == (sum(one[part] for part in parts) <= one["total_bytes"])


@pytest.mark.parametrize(
    "more,words",
    [
        ({"model": "llama-9"}, "unknown model 'llama-9'"),
        ({"hw": ("bitmod",)}, "bitmod is an accelerator"),
        ({"context": 100}, "--context 100 holds prompt and answer"),
        ({"context": 1 << 20}, "has a context of 131072"),
        ({"accuracy": "gpt-5"}, "no accuracy table of gpt-5"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(more, words):
    with pytest.raises(UserError, match=words) as error:
        plan(**more)
    assert "\n" not in str(error.value)


def test_a_time_has_a_unit(capsys):
    with pytest.raises(SystemExit) as end:
        main(["plan", "llama-3.2-1b", "--hw", "l4", "--ttft", "soon"])
    assert end.value.code == 2
    assert "'soon' is not a time above 0; write 1s or 50ms" in capsys.readouterr().err
