"""Decoding: a step of the model for one token, with keys and values from a cache.

The cache has room for a fixed number of tokens, so that every step has the same shapes; tokens that
are not there yet are masked.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from sim.model.config import ModelConfig
from sim.model.forward import add_residual, feed_forward, normalize, queries_keys_values
from sim.model.head import logits
from sim.model.layer_numerics import LayerNumerics
from sim.model.linear import linear
from sim.model.online_transforms import before_o
from sim.model.params import Params
from sim.model.rope import RopeTables, rope_tables

FLOAT = LayerNumerics()

#: Keys and values of all layers.
Cache = Float32[Array, "layers two kv_heads room size"]
States = Float32[Array, "1 d"]


def empty_cache(config: ModelConfig, room: int) -> Cache:
    """Return a cache for ``room`` tokens."""
    if room < 1:
        raise ValueError(f"a cache for {room} tokens; at least 1")
    shape = (config.layers, 2, config.kv_heads, room, config.head_dim)
    return jnp.zeros(shape, jnp.float32)


def decode_step(
    params: Params,
    token: Int32[Array, ""],
    position: Int32[Array, ""],
    cache: Cache,
    config: ModelConfig,
) -> tuple[Float32[Array, " v"], Cache]:
    """Return the logits after ``token`` at ``position``, and the cache with its keys and values.

    Parameters
    ----------
    params
        In float32; see :mod:`sim.model.params`.
    cache
        Of all tokens before; ``config`` is static under ``jax.jit``.
    """
    room = cache.shape[3]
    x = params["embed"][token][None] * config.embedding_scale
    if config.learned_positions:
        x = x + params["positions"][config.position_offset + position][None]
    rope = None
    if config.rope is not None:
        cos, sin = rope_tables(config.rope, room)
        rope = (_row(cos, position), _row(sin, position))
    windows = jnp.asarray([room if w is None else w for w in config.windows], jnp.int32)

    # The cache is carried, so that the loop changes it in place.
    def step(carry: tuple[States, Cache], scanned: tuple[Any, Any, Any]) -> tuple[Any, None]:
        x, cache = carry
        layer, window, index = scanned
        return _block(x, layer, cache, index, position, window, config, rope), None

    scanned = (params["layers"], windows, jnp.arange(config.layers))
    (x, cache), _ = jax.lax.scan(step, (x, cache), scanned)
    if config.final_norm:
        x = normalize(x, params, "final_norm", config)
    return logits(x, params, config, 0, config.vocab_size)[0], cache


def _row(table: Float32[Array, "room half"], row: Int32[Array, ""]) -> Float32[Array, "1 half"]:
    found: Float32[Array, "1 half"] = jax.lax.dynamic_index_in_dim(table, row, 0)
    return found


def _block(
    x: States,
    layer: Params,
    cache: Cache,
    index: Int32[Array, ""],
    position: Int32[Array, ""],
    window: Int32[Array, ""],
    config: ModelConfig,
    rope: RopeTables | None,
) -> tuple[States, Cache]:
    """One transformer layer, which adds a token to its part of the cache."""
    normed = normalize(x, layer, "attn_norm", config) if config.norm_first else x
    q, k, v = queries_keys_values(normed, layer, config, FLOAT, rope)
    start = (index, 0, 0, position, 0)
    cache = jax.lax.dynamic_update_slice(cache, jnp.stack([k, v])[None], start)
    kept = jax.lax.dynamic_index_in_dim(cache, index, 0, keepdims=False)
    mixed = before_o(_attend(q[:, 0], kept, position, window, config), config)
    attended = linear(mixed, layer["o"], layer.get("o_bias"), None)
    if config.parallel_block:
        return attended + feed_forward(normed, layer, config, FLOAT)[0] + x, cache
    x = add_residual(x, attended, layer, "attn", config)
    normed = normalize(x, layer, "mlp_norm", config) if config.norm_first else x
    update, _ = feed_forward(normed, layer, config, FLOAT)
    return add_residual(x, update, layer, "mlp", config), cache


def _attend(
    q: Float32[Array, "heads size"],
    kept: Float32[Array, "two kv_heads room size"],
    position: Int32[Array, ""],
    window: Int32[Array, ""],
    config: ModelConfig,
) -> Float32[Array, "1 width"]:
    # Sums of products: a matrix product would make XLA copy its slice of the cache first.
    keys, values = kept
    groups = q.reshape(len(keys), -1, q.shape[-1]) * config.score_scale
    scores = jnp.sum(groups[:, :, None] * keys[:, None], axis=-1)
    if config.attention_softcap is not None:
        scores = config.attention_softcap * jnp.tanh(scores / config.attention_softcap)
    tokens = jnp.arange(keys.shape[1])
    seen = (tokens <= position) & (tokens > position - window)
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    return jnp.sum(weights[..., None] * values[:, None], axis=2).reshape(1, -1)
