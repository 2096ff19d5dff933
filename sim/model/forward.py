"""The forward pass: token ids to the final hidden states, one window at a time."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from sim.model.config import ModelConfig, RopeConfig

Params = dict[str, Any]


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope_tables(rope: RopeConfig, positions: Array) -> tuple[Array, Array]:
    exponents = jnp.arange(0, rope.dim, 2, dtype=jnp.float32) / rope.dim
    inverse_frequencies = 1.0 / rope.theta**exponents
    angles = positions[:, None] * inverse_frequencies  # (t, dim / 2)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    first, second = jnp.split(x, 2, axis=-1)  # (heads, t, dim / 2)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(x: Array, layer: Params, config: ModelConfig, cos: Array, sin: Array) -> Array:
    t, heads, kv_heads, size = x.shape[0], config.heads, config.kv_heads, config.head_dim
    qkv = (x @ layer["qkv"].T).reshape(t, heads + 2 * kv_heads, size).transpose(1, 0, 2)
    q = rotate(qkv[:heads], cos, sin) * config.score_scale
    k = rotate(qkv[heads : heads + kv_heads], cos, sin)
    v = qkv[heads + kv_heads :]
    # Fold the query heads of a kv head into rows: plain batched matrix products.
    groups = heads // kv_heads
    scores = q.reshape(kv_heads, groups * t, size) @ k.transpose(0, 2, 1)
    seen = jnp.tril(jnp.ones((t, t), bool))
    scores = jnp.where(seen, scores.reshape(kv_heads, groups, t, t), -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).reshape(kv_heads, groups * t, t)
    out = (weights @ v).reshape(heads, t, size).transpose(1, 0, 2).reshape(t, heads * size)
    return out @ layer["o"].T


def mlp(x: Array, layer: Params) -> Array:
    gate, up = jnp.split(x @ layer["gate_up"].T, 2, axis=-1)
    return (jax.nn.silu(gate) * up) @ layer["down"].T


def hidden_states(params: Params, tokens: Array, config: ModelConfig) -> Array:
    """Return the final normalised hidden states, shape (t, hidden_size), of one window."""
    assert config.rope is not None
    cos, sin = rope_tables(config.rope, jnp.arange(tokens.shape[0], dtype=jnp.float32))

    def block(x: Array, layer: Params) -> tuple[Array, None]:
        normed = rms_norm(x, layer["attn_norm"], config.norm_eps)
        x = x + attention(normed, layer, config, cos, sin)
        x = x + mlp(rms_norm(x, layer["mlp_norm"], config.norm_eps), layer)
        return x, None

    x, _ = jax.lax.scan(block, params["embed"][tokens], params["layers"])
    return rms_norm(x, params["final_norm"], config.norm_eps)
