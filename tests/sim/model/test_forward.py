import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers.blocks import FAMILIES

from sim.model.forward import LayerNumerics, hidden_states

# Logits pass through some twenty sums of up to 80 float32 products; two orders of summation differ
# by a few 1e-6 of the logits' spread (largest seen: 8e-6). A part left out changes them by 1e-1.
TOLERANCE = 2.0**-15


def test_logits_equal_those_of_transformers(case, golden_model):
    golden = golden_model(case)
    assert golden.error(golden.config, golden.params()) < TOLERANCE


#: Families whose compiled programs differ most: one window, a window every second layer, learned
#: positions, long rotary factors, parallel blocks. Those of the others are slow tests.
COMPILED = ("mistral", "gemma2", "opt", "phi3-longrope-long", "phi")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in COMPILED))
        for name in sorted(path.parent.name for path in FAMILIES.glob("*/golden.safetensors"))
    ],
)
def test_logits_of_compiled_programs_equal_those_of_transformers(name, golden_model):
    golden = golden_model(name)
    assert golden.error(golden.config, golden.params(), compiled=True) < TOLERANCE


PARTS = [
    ("llama", {"norm_eps": 1e-6}),
    ("llama", {"activation": "gelu"}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"sliding_window": 8}),
    ("qwen2-window", {"windowed_layers": ()}),
    ("qwen2-window", {"sliding_window": None}),
    ("qwen3", {"qk_norm": False}),
    ("phi3", {"sliding_window": None}),
    ("gemma2", {"norm_weight_offset": 0.0}),
    ("gemma2", {"post_norms": False}),
    ("gemma2", {"attention_softcap": None}),
    ("gemma2", {"final_softcap": None}),
    ("gemma2", {"attention_scale": None}),
    ("gemma2", {"embedding_scale": 1.0}),
    ("gemma2", {"sliding_window": None}),
    ("gemma2", {"windowed_layers": ()}),
    ("gemma2", {"windowed_layers": (False, True, False)}),
    ("gemma2", {"activation": "silu"}),
    ("opt", {"position_offset": 0}),
    ("opt", {"norm_eps": 1e-2}),
    ("opt", {"activation": "gelu"}),
    ("opt-post-norm", {"norm_first": True}),
    ("gpt2", {"activation": "gelu"}),
    ("phi", {"head_bias": False}),
]


#: Indices of parts that repeat a kind of part; they are slow tests.
AGAIN = (1, 3, 5, 7, 14, 16, 17, 20)


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(*part, marks=[pytest.mark.slow] * (i in AGAIN)) for i, part in enumerate(PARTS)],
)
def test_every_part_of_a_family_matters(name, change, golden_model):
    golden = golden_model(name)
    error = golden.error(dataclasses.replace(golden.config, **change), golden.params())
    # The tanh form of GELU is within 5e-4 of the exact one; all others stand out far more.
    least = 10 if change == {"activation": "gelu"} and name == "gpt2" else 100
    assert error > least * TOLERANCE


ROPE_PARTS = [
    ("llama", {"theta": 9000.0}),
    ("llama-llama3-tied", {"factors": None}),
    ("llama-linear-biases", {"factors": None}),
    ("phi3-longrope-short", {"original_max_positions": 20}),
    ("phi3-longrope-long", {"long_factors": None}),
    ("phi3-longrope-long", {"attention_factor": 1.0}),
    ("phi", {"dim": 8}),
]


@pytest.mark.parametrize(("name", "change"), ROPE_PARTS)
def test_every_part_of_the_rotary_embedding_matters(name, change, golden_model):
    golden = golden_model(name)
    rope = dataclasses.replace(golden.config.rope, **change)
    config = dataclasses.replace(golden.config, rope=rope)
    assert golden.error(config, golden.params()) > 100 * TOLERANCE


BIASES = [
    ("llama-linear-biases", ["qkv_bias", "o_bias", "gate_up_bias", "down_bias"]),
    ("qwen2", ["qkv_bias"]),
    ("opt", ["qkv_bias", "o_bias", "gate_up_bias", "down_bias", "attn_norm_bias", "mlp_norm_bias"]),
    ("gpt2", ["qkv_bias", "o_bias", "gate_up_bias", "down_bias"]),
    ("phi", ["qkv_bias", "o_bias", "gate_up_bias", "down_bias", "attn_norm_bias"]),
]


@pytest.mark.parametrize(("name", "bias"), [(n, b) for n, biases in BIASES for b in biases])
def test_every_bias_matters(name, bias, golden_model):
    golden = golden_model(name)
    params = golden.params()
    params["layers"][bias] = 0 * params["layers"][bias]
    assert golden.error(golden.config, params) > 100 * TOLERANCE


def test_more_tokens_than_learned_positions_are_refused(golden_model):
    golden = golden_model("gpt2")
    tokens = jnp.zeros(65, jnp.int32)
    message = "^65 tokens given, but the model has 64 learned positions$"
    with pytest.raises(ValueError, match=message):
        hidden_states(golden.params(), tokens, golden.config)


def test_numerics_must_have_an_entry_for_every_layer(golden_model):
    golden = golden_model("llama")
    with pytest.raises(ValueError, match=re.escape("numerics has 3 entries for 2 layers") + "$"):
        hidden_states(
            golden.params(), jnp.asarray(golden.tokens), golden.config, (LayerNumerics(),) * 3
        )


def test_compiled_size_does_not_grow_with_the_layers(golden_model):
    golden = golden_model("gemma2")
    params = golden.params()

    def lines(layers: int) -> int:
        config = dataclasses.replace(
            golden.config, layers=layers, windowed_layers=(True, False) * (layers // 2)
        )
        shapes = jax.eval_shape(
            lambda: jax.tree.map(lambda a: jnp.zeros((layers, *a.shape[1:])), params["layers"])
        )
        run = jax.jit(hidden_states, static_argnums=2)
        lowered = run.lower(params | {"layers": shapes}, jnp.asarray(golden.tokens), config)
        return len(lowered.as_text().splitlines())

    assert lines(40) == lines(4)


@pytest.mark.parametrize("name", ["mistral", "gemma2", "opt", "phi3-longrope-short"])
def test_later_tokens_do_not_change_earlier_states(name, golden_model):
    golden = golden_model(name)
    config, params = golden.config, golden.params()
    with jax.disable_jit():
        before, after = (
            hidden_states(params, jnp.asarray(tokens), config)[:20]
            for tokens in (golden.tokens, np.where(np.arange(24) < 20, golden.tokens, 1))
        )
    np.testing.assert_array_equal(before, after)
