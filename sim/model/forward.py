"""The forward pass: token ids to the final hidden states, one window at a time.

One function serves every family; :class:`~sim.model.config.ModelConfig` switches its parts.
Layers run in ``jax.lax.scan`` over stacked parameters, once for each run of layers with
equal numerics, so that compile time does not grow with the number of layers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from sim.model.attention import attention
from sim.model.config import Activation, ModelConfig
from sim.model.layer_numerics import LayerNumerics as LayerNumerics
from sim.model.layer_numerics import segments
from sim.model.linear import linear
from sim.model.norm import layer_norm, rms_norm
from sim.model.online_transforms import after_rope, before_down, before_o
from sim.model.params import Params as Params
from sim.model.rope import RopeTables, rope_tables, rotate
from sim.model.straight_through import rounded

Hidden = Float32[Array, "t d"]
Heads = Float32[Array, "heads t size"]
KvHeads = Float32[Array, "kv_heads t size"]
#: What the linear layers of a block read, (t, in), by buffer: qkv, o, gate_up and down.
Sites = dict[str, Float32[Array, "t _"]]

ACTIVATIONS: Mapping[Activation, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
}


def hidden_states(
    params: Params,
    tokens: Int32[Array, " t"],
    config: ModelConfig,
    numerics: tuple[LayerNumerics, ...] | None = None,
) -> Hidden:
    """Return the final normalised hidden states, shape (t, hidden_size), of one window.

    Parameters
    ----------
    params : Params
        See :mod:`sim.model.params`.
    tokens : Array
        Token ids; the first is at position 0.
    config : ModelConfig
        Static under ``jax.jit``.
    numerics : tuple of LayerNumerics, optional
        How each layer rounds its activations; static under ``jax.jit``.
    """
    numerics = (LayerNumerics(),) * config.layers if numerics is None else numerics
    if len(numerics) != config.layers:
        raise ValueError(f"numerics has {len(numerics)} entries for {config.layers} layers")
    count = tokens.shape[0]
    x = embed(params, tokens, config)
    shared_window, layer_windows = _windows(config, count)
    scanned_block = partial(
        _scanned_block,
        config=config,
        rope=None if config.rope is None else rope_tables(config.rope, count),
        shared_window=shared_window,
    )
    for layers, entry in segments(numerics):
        run = partial(scanned_block, numerics=entry)
        x = _scan(run, x, (params["layers"], layer_windows), layers, config.layers)
    return normalize(x, params, "final_norm", config) if config.final_norm else x


def embed(params: Params, tokens: Int32[Array, " t"], config: ModelConfig) -> Hidden:
    """Return the input of the first layer: token embeddings, and positions where learned."""
    x: Hidden = params["embed"][tokens] * config.embedding_scale
    if not config.learned_positions:
        return x
    count = tokens.shape[0]
    if count > config.max_positions:
        raise ValueError(
            f"{count} tokens given, but the model has {config.max_positions} learned positions"
        )
    positions: Hidden = params["positions"][config.position_offset :][:count]
    return x + positions


def _windows(config: ModelConfig, count: int) -> tuple[int | None, Int32[Array, " layers"] | None]:
    """Return the one window of all layers, or else an array with the window of each.

    A window of at least ``count`` tokens counts as none.
    """
    sizes = [None if w is None or w >= count else w for w in config.windows]
    if len(set(sizes)) == 1:
        return sizes[0], None
    return None, jnp.asarray([count if size is None else size for size in sizes], jnp.int32)


def _scan(
    run: Callable[[Hidden, Any], Hidden], x: Hidden, stacked: Any, layers: range, total: int
) -> Hidden:
    """Run consecutive layers of a stack."""
    if len(layers) == total:
        return jax.lax.scan(lambda x, layer: (run(x, layer), None), x, stacked)[0]

    # Indexing inside the loop reads one layer at a time; slicing the stack would copy it.
    def step(x: Hidden, index: Array) -> tuple[Hidden, None]:
        layer = jax.tree.map(
            partial(jax.lax.dynamic_index_in_dim, index=index, keepdims=False), stacked
        )
        return run(x, layer), None

    return jax.lax.scan(step, x, jnp.arange(layers.start, layers.stop))[0]


def _scanned_block(
    x: Hidden,
    scanned: tuple[Params, Int32[Array, ""] | None],
    *,
    config: ModelConfig,
    numerics: LayerNumerics,
    rope: RopeTables | None,
    shared_window: int | None,
) -> Hidden:
    """One transformer layer of a stack."""
    layer, own_window = scanned
    window = shared_window if own_window is None else own_window
    return block(x, layer, config, numerics, rope, window)[0]


def block(
    x: Hidden,
    layer: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    rope: RopeTables | None,
    window: int | Int32[Array, ""] | None,
) -> tuple[Hidden, Sites]:
    """One transformer layer: its output, and what each of its linear layers reads.

    The inputs are those after online transforms and before ``numerics`` rounds them, by name of
    the buffer in ``layer``.
    """
    normed = normalize(x, layer, "attn_norm", config) if config.norm_first else x
    sites = {"qkv": normed}
    q, k, v = queries_keys_values(normed, layer, config, numerics, rope)
    mixed = attention(
        q, k, v, scale=config.score_scale, softcap=config.attention_softcap, window=window
    )
    sites["o"] = before_o(mixed, config)
    attended = linear(sites["o"], layer["o"], layer.get("o_bias"), numerics.o)
    if not config.parallel_block:
        x = add_residual(x, attended, layer, "attn", config)
        normed = normalize(x, layer, "mlp_norm", config) if config.norm_first else x
    sites["gate_up"] = normed
    update, sites["down"] = feed_forward(normed, layer, config, numerics)
    if config.parallel_block:
        return attended + update + x, sites
    return add_residual(x, update, layer, "mlp", config), sites


def add_residual(
    x: Hidden, update: Hidden, layer: Params, part: str, config: ModelConfig
) -> Hidden:
    """Add a part's output to the residual stream, normalised before or after as configured."""
    if config.post_norms:
        update = normalize(update, layer, f"{part}_post_norm", config)
    x = x + update
    return x if config.norm_first else normalize(x, layer, f"{part}_norm", config)


def normalize(
    x: Float32[Array, "*rows d"], params: Params, name: str, config: ModelConfig
) -> Array:
    """Normalise rows as the model does, with the weights of that name."""
    weight = params[name] + config.norm_weight_offset
    if config.norm == "rms":
        return rms_norm(x, weight, eps=config.norm_eps)
    return layer_norm(x, weight, params[f"{name}_bias"], eps=config.norm_eps)


def queries_keys_values(
    x: Hidden,
    layer: Params,
    config: ModelConfig,
    numerics: LayerNumerics,
    rope: RopeTables | None,
) -> tuple[Heads, KvHeads, KvHeads]:
    """Return queries, keys and values of normalised states, as the cache keeps them."""
    heads, kv_heads = config.heads, config.kv_heads
    qkv = linear(x, layer["qkv"], layer.get("qkv_bias"), numerics.qkv)
    split = qkv.reshape(len(x), heads + 2 * kv_heads, config.head_dim).transpose(1, 0, 2)
    q, k, v = split[:heads], split[heads : heads + kv_heads], split[heads + kv_heads :]
    if config.qk_norm:
        q, k = normalize(q, layer, "q_norm", config), normalize(k, layer, "k_norm", config)
    if rope is not None:
        q, k = rotate(q, rope), rotate(k, rope)
    q, k = after_rope(q, config), after_rope(k, config)
    if numerics.kv is not None:
        k, v = rounded(k, numerics.kv), rounded(v, numerics.kv)
    return q, k, v


def feed_forward(
    x: Hidden, layer: Params, config: ModelConfig, numerics: LayerNumerics
) -> tuple[Hidden, Float32[Array, "t inner"]]:
    """Two linear layers with an activation function between, which a gate may multiply.

    Returns the output and what the second layer reads.
    """
    inner = linear(x, layer["gate_up"], layer.get("gate_up_bias"), numerics.gate_up)
    activate = ACTIVATIONS[config.activation]
    if config.gated_mlp:
        gate, up = jnp.split(inner, 2, axis=-1)
        inner = activate(gate) * up
    else:
        inner = activate(inner)
    inner = before_down(inner, config)
    return linear(inner, layer["down"], layer.get("down_bias"), numerics.down), inner
