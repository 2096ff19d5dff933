"""Online transforms in the forward pass: where they act, and what they cost."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme
from numerics.solvers.hadamard import hadamard
from sim.model.attention import attention
from sim.model.capture import layer_inputs
from sim.model.decode import decode_step, empty_cache
from sim.model.forward import hidden_states, queries_keys_values
from sim.model.head import logits
from sim.model.layer_numerics import LayerNumerics
from sim.model.online import Online
from sim.model.online_cost import OnlineCost, online_cost
from sim.model.rope import rope_tables

# Blocks of each kind: 20 of 80 values, 2 of 6 heads, 4 of the 8 values of a head.
ALL = Online(down=20, o=2, qk=4)


def blocks(width, size):
    """The orthogonal matrix of the transform."""
    return np.kron(np.eye(width // size), hadamard(size)) / np.sqrt(size)


@pytest.fixture
def golden(golden_model):
    return golden_model("llama")


def with_online(golden, online):
    return dataclasses.replace(golden.config, online=online)


@partial(jax.jit, static_argnums=(2, 3, 4))
def inputs_of(params, tokens, config, other, name):
    """Return what a layer reads in two models, by one compiled program."""
    return tuple(layer_inputs(params, tokens, c, name) for c in (config, other))


def test_inputs_of_down_and_o_are_transformed(golden):
    params, tokens = golden.params(), jnp.asarray(golden.tokens)
    matrices = {
        "mlp.down_proj": blocks(80, 20),
        "self_attn.o_proj": np.kron(blocks(6, 2), np.eye(8)),
    }
    changed = {"mlp.down_proj": Online(down=20), "self_attn.o_proj": Online(o=2)}
    for part, matrix in matrices.items():
        before, after = inputs_of(
            params, tokens, golden.config, with_online(golden, changed[part]), f"layers.0.{part}"
        )
        assert np.allclose(after, before @ matrix.T, rtol=0, atol=1e-5)


def test_queries_and_keys_are_transformed_before_the_cache_rounds_them(golden):
    config, layer = (
        with_online(golden, Online(qk=8)),
        jax.tree.map(lambda a: a[0], golden.params()["layers"]),
    )
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 48)), jnp.float32)
    rope, scheme = rope_tables(config.rope, 5), parse_scheme("int8:channel")

    @jax.jit
    def computed(x):
        return (
            queries_keys_values(x, layer, golden.config, LayerNumerics(), rope),
            queries_keys_values(x, layer, config, LayerNumerics(), rope),
            queries_keys_values(x, layer, config, LayerNumerics(kv=scheme), rope),
        )

    (q, k, v), turned, rounded = computed(x)
    matrix = blocks(8, 8)
    for before, after in ((q, turned[0]), (k, turned[1])):
        assert np.allclose(after, np.asarray(before) @ matrix.T, rtol=0, atol=1e-5)
    assert np.array_equal(turned[2], v) and np.array_equal(rounded[0], turned[0])
    step = np.abs(np.asarray(turned[1])).max(-1, keepdims=True) / 127
    assert (np.abs(np.asarray(rounded[1] - turned[1])) <= 0.51 * step).all()
    assert not np.array_equal(rounded[1], turned[1])
    kept = attention(*turned, scale=config.score_scale)
    assert np.allclose(kept, attention(q, k, v, scale=config.score_scale), rtol=0, atol=1e-4)


def test_decoding_transforms_as_windows_do(golden):
    config, params = with_online(golden, ALL), golden.params()
    step = jax.jit(decode_step, static_argnums=4)
    cache, found = empty_cache(config, len(golden.tokens)), []
    for position, token in enumerate(golden.tokens):
        row, cache = step(params, jnp.int32(token), jnp.int32(position), cache, config)
        found.append(np.asarray(row))
    whole = jax.jit(hidden_states, static_argnums=2)
    hidden = whole(params, jnp.asarray(golden.tokens), config)
    expected = np.asarray(logits(hidden, params, config))
    assert np.abs(np.stack(found) - expected).max() < 2.0**-15 * expected.std()
    assert (
        golden.error(config, params, compiled=True) > 0.1
    )  # the weights are not transformed to match


@pytest.mark.parametrize(
    ("online", "message"),
    [
        (Online(down=32), "80 values can't be rotated in blocks of 32"),
        (Online(o=6), "no Hadamard matrix of order 6"),
        (Online(o=4), "6 values can't be rotated in blocks of 4"),
        (Online(o_values=32), "48 values can't be rotated in blocks of 32"),
        (Online(o=2, o_values=48), "the input of o has one online transform"),
        (Online(qk=16), "8 values can't be rotated in blocks of 16"),
    ],
)
def test_sizes_that_do_not_fit_the_model_are_refused(online, message, golden):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        with_online(golden, online)


def test_all_values_before_o_may_be_transformed(golden):
    params, tokens = golden.params(), jnp.asarray(golden.tokens)
    name = "layers.0.self_attn.o_proj"
    config = with_online(golden, Online(o_values=48))
    before, after = inputs_of(params, tokens, golden.config, config, name)
    assert np.allclose(after, before @ blocks(48, 48).T, rtol=0, atol=1e-5)
    # 48 = 12 * 4: 2 stages, and 11 additions a value.
    assert online_cost(config).additions == 2 * 48 * (2 + 11)


def test_the_cost_is_that_of_every_transform(golden):
    # 2 layers: 4 blocks of 20 = 20 * 1 values (19 additions each), 3 pairs of heads of 8 values
    # (1 stage), 6 + 2 heads of 2 blocks of 4 (2 stages).
    additions = 2 * (80 * 19 + 48 * 1 + 64 * 2)
    expected = OnlineCost(additions=additions, multiplications=2 * (80 + 48 + 64))
    assert online_cost(with_online(golden, ALL)) == expected
    assert online_cost(golden.config) == OnlineCost(additions=0, multiplications=0)
