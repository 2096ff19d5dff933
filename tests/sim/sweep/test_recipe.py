import dataclasses
import re

import pytest

from numerics import parse_scheme
from sim.errors import UserError
from sim.model.config import ModelConfig, RopeConfig
from sim.model.layer_numerics import LayerNumerics
from sim.sweep.recipe import EXACT, FLOAT32, Recipe, Rule, plan

CONFIG = ModelConfig(
    family="llama",
    vocab_size=100,
    hidden_size=64,
    intermediate_size=96,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    max_positions=32,
    rope=RopeConfig(dim=16),
)
INT4, INT8 = parse_scheme("int4:g32"), parse_scheme("int8:g32")
TOKEN = parse_scheme("int8", role="activation")


def recipe(*rules, pe=None):
    return Recipe(name="r", rules=rules, pe=pe)


def test_a_plain_rule_quantizes_the_linear_layers_and_keeps_the_embedding():
    weights = plan(recipe(Rule(weights=INT4)), CONFIG).weights
    assert len(weights) == 2 * 7 and set(weights.values()) == {INT4}
    assert "embed_tokens" not in weights


def test_the_first_rule_that_matches_decides():
    rules = (Rule(match="*.down_proj", weights=INT8), Rule(weights=INT4))
    weights = plan(recipe(*rules), CONFIG).weights
    assert weights["layers.1.mlp.down_proj"] == INT8
    assert weights["layers.1.mlp.up_proj"] == INT4


def test_an_empty_first_rule_keeps_layers_in_float():
    point = plan(recipe(Rule(match="layers.0.*"), Rule(weights=INT4, kv=TOKEN)), CONFIG)
    assert {name.split(".")[1] for name in point.weights} == {"1"}
    assert point.numerics == (LayerNumerics(), LayerNumerics(kv=TOKEN))


def test_a_rule_that_names_the_embedding_quantizes_it():
    assert plan(recipe(Rule(match="embed_tokens", weights=INT4)), CONFIG).weights == {
        "embed_tokens": INT4
    }


def test_activations_reach_every_input():
    (first, second) = plan(recipe(Rule(activations=TOKEN)), CONFIG).numerics or ()
    assert first == second == LayerNumerics(qkv=TOKEN, o=TOKEN, gate_up=TOKEN, down=TOKEN)


def test_the_float_model_needs_no_numerics():
    point = plan(FLOAT32, CONFIG)
    assert point.weights == {} and point.numerics is None


def test_equal_computations_have_one_canonical_text_whatever_their_name():
    a, b = recipe(Rule(weights=INT4)), Recipe(name="other", rules=(Rule(weights=INT4),))
    assert a.canonical() == b.canonical()
    others = [
        recipe(Rule(weights=INT8)),
        dataclasses.replace(a, pe=EXACT),
        dataclasses.replace(a, pe="p"),
        FLOAT32,
    ]
    assert len({a.canonical(), *(other.canonical() for other in others)}) == 5


@pytest.mark.parametrize("field", ["activations", "kv"])
@pytest.mark.parametrize(
    ("name", "others"),
    {
        **dict.fromkeys(("bitnet-ternary", "nf4-dq", "aqlm-2x8", "ant4"), "int8 or mxfp8_e4m3"),
        "nvfp4": "nvfp4:token or nvfp4:scale=<number>",
        "nvfp4-ct": "nvfp4:token or nvfp4:scale=<number>",
        "int8:tensor:fp32": "int8:token:fp32 or int8:scale=<number>",
        "fp8_e4m3:tensor:fp32": "fp8_e4m3:token:fp32 or fp8_e4m3:scale=<number>",
    }.items(),
)
def test_tokens_that_would_depend_on_later_ones_are_refused(name, others, field):
    message = (
        f"{name} has statistics over all tokens, so a token would depend on later ones; for "
        f"activations and cache use {others}"
    )
    with pytest.raises(UserError, match=f": {re.escape(message)}$"):
        plan(recipe(Rule(**{field: parse_scheme(name)})), CONFIG)


@pytest.mark.parametrize("name", ["nvfp4:token", "nvfp4:scale=0.0005", "fp8_e4m3:scale=1"])
def test_statistics_of_a_token_and_scales_given_beforehand_suit_activations_and_cache(name):
    scheme = parse_scheme(name, role="kv")
    config = dataclasses.replace(CONFIG, hidden_size=256, intermediate_size=704, head_dim=64)
    found = plan(recipe(Rule(activations=scheme, kv=scheme)), config)
    assert all(layer.kv == scheme for layer in found.numerics)


def test_layers_that_do_not_fit_can_be_left_out():
    config = dataclasses.replace(CONFIG, hidden_size=256, intermediate_size=704, head_dim=64)
    message = (
        r"^layers\.0\.mlp\.down_proj and 1 more: .* rows of 704; --skip '\*.down_proj' leaves "
    )
    with pytest.raises(UserError, match=message + "them out$"):
        plan(recipe(Rule(weights=parse_scheme("tq1_0"))), config)


def test_all_layers_that_do_not_fit_are_named_at_once():
    config = dataclasses.replace(CONFIG, hidden_size=320, intermediate_size=704, head_dim=80)
    with pytest.raises(UserError, match=r"^layers\.0\.self_attn\.q_proj and 13 more: ") as caught:
        plan(recipe(Rule(weights=parse_scheme("q4_k"))), config)
    patterns = [word for word in str(caught.value).split() if word.startswith("'*.")]
    assert len(patterns) == 7 and "--group-size" not in str(caught.value)


def test_a_pattern_without_a_match_is_refused():
    message = (
        r"^pattern 'layers\.7\.\*' of recipe r matches no layer of the model; "
        r"names look like 'layers\.0\.self_attn\.q_proj' and 'layers\.1\.self_attn\.kv_cache'$"
    )
    with pytest.raises(UserError, match=message):
        plan(recipe(Rule(match="layers.7.*", weights=INT4)), CONFIG)


def test_a_group_larger_than_a_row_is_refused_with_the_layers():
    message = (
        r"^group size 80 is larger than a row: 64 values in layers\.0\.self_attn\.q_proj "
        r"and 11 more; use --group-size 64 or less, or one scale per channel \(FORMAT:channel\)$"
    )
    with pytest.raises(UserError, match=message):
        plan(recipe(Rule(weights=parse_scheme("int4:g80"))), CONFIG)


def test_cache_rows_are_the_values_of_one_head():
    with pytest.raises(UserError, match=r"16 values in layers\.0\.self_attn\.kv_cache and 1 more"):
        plan(recipe(Rule(kv=parse_scheme("mxfp4", role="kv"))), CONFIG)


def test_layers_that_share_an_input_need_one_activation_format():
    rules = (Rule(match="*.q_proj"), Rule(activations=TOKEN))
    with pytest.raises(UserError, match=r"read the same input; give them one activation format$"):
        plan(recipe(*rules), CONFIG)
