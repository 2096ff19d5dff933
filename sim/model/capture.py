"""The inputs of a linear layer on given tokens."""

import dataclasses
import re

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from sim.model.attention import attention
from sim.model.config import ModelConfig
from sim.model.forward import (
    ACTIVATIONS,
    add_residual,
    embed,
    hidden_states,
    normalize,
    queries_keys_values,
)
from sim.model.layer_numerics import LayerNumerics
from sim.model.linear import linear
from sim.model.params import Params
from sim.model.rope import rope_tables
from sim.model.tensors import FUSED, linear_names

Inputs = Float32[Array, "t in"]
Outputs = Float32[Array, "t out"]
FLOAT = LayerNumerics()


def layer_inputs(
    params: Params, tokens: Int32[Array, " t"], config: ModelConfig, name: str
) -> Inputs:
    """Return the input of a linear layer such as ``layers.3.mlp.down_proj``, shape (tokens, in).

    Raises
    ------
    ValueError
        The model has no such layer.
    """
    if name not in linear_names(config):
        known = ", ".join(linear_names(config)[:7])
        raise ValueError(f"no linear layer '{name}'; there are {known} and so on")
    match = re.fullmatch(r"layers\.(\d+)\.(.*)", name)
    assert match is not None
    index, part = int(match[1]), match[2]
    fused = next(buffer for buffer, members in FUSED.items() if part in members)
    layer = {key: value[index] for key, value in params["layers"].items()}
    return _inputs(_entering(params, tokens, config, index), layer, config, index, fused)


def _entering(
    params: Params, tokens: Int32[Array, " t"], config: ModelConfig, index: int
) -> Inputs:
    """Return the input of a layer: the output of the model's layers before it."""
    if index == 0:
        return embed(params, tokens, config)
    first = {key: value[:index] for key, value in params["layers"].items()}
    shorter = dataclasses.replace(
        config, layers=index, final_norm=False, windowed_layers=config.windowed_layers[:index]
    )
    states: Inputs = hidden_states({**params, "layers": first}, tokens, shorter)
    return states


def _inputs(x: Inputs, layer: Params, config: ModelConfig, index: int, fused: str) -> Outputs:
    """Return the input of one of a layer's matrix products."""
    normed = normalize(x, layer, "attn_norm", config) if config.norm_first else x
    if fused == "qkv":
        return normed
    rope = None if config.rope is None else rope_tables(config.rope, len(x))
    q, k, v = queries_keys_values(normed, layer, config, FLOAT, rope)
    mixed = attention(
        q,
        k,
        v,
        scale=config.score_scale,
        softcap=config.attention_softcap,
        window=config.windows[index],
    )
    if fused == "o":
        return mixed
    if not config.parallel_block:
        attended = linear(mixed, layer["o"], layer.get("o_bias"), None)
        x = add_residual(x, attended, layer, "attn", config)
        normed = normalize(x, layer, "mlp_norm", config) if config.norm_first else x
    if fused == "gate_up":
        return normed
    inner = linear(normed, layer["gate_up"], layer.get("gate_up_bias"), None)
    activate = ACTIVATIONS[config.activation]
    if not config.gated_mlp:
        return jnp.asarray(activate(inner))
    gate, up = jnp.split(inner, 2, axis=-1)
    result: Outputs = activate(gate) * up
    return result
