"""The inputs of a linear layer on given tokens."""

import dataclasses
import re

from jaxtyping import Array, Float32, Int32

from sim.model.config import ModelConfig
from sim.model.forward import block, embed, hidden_states
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.model.rope import rope_tables
from sim.model.tensors import FUSED, linear_names

Inputs = Float32[Array, "t in"]
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
    rope = None if config.rope is None else rope_tables(config.rope, len(tokens))
    entering = _entering(params, tokens, config, index)
    return block(entering, layer, config, FLOAT, rope, config.windows[index])[1][fused]


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
