"""The tensors of one block, read from a model and joined as the forward pass takes them."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from sim.model.config import ModelConfig
from sim.model.params import Params
from sim.model.tensors import layer_shapes, slots
from sim.sources.source import ModelSource, Tensor


def read_block(source: ModelSource, index: int) -> dict[str, Tensor]:
    """Return every tensor of a block by its name after ``layers.{index}.``."""
    return {name: source.read(f"layers.{index}.{name}") for name in layer_shapes(source.config)}


def block_params(config: ModelConfig, tensors: Mapping[str, np.ndarray]) -> Params:
    """Return the buffers of one block: matrices that share an input joined by rows."""
    parts: dict[str, list[np.ndarray]] = {}
    for name, slot in slots(config).items():
        prefix, _, rest = name.partition(".0.")
        if slot.layer == 0 and prefix == "layers":
            parts.setdefault(slot.buffer, []).append(tensors[rest])
    return {buffer: jnp.asarray(np.concatenate(arrays)) for buffer, arrays in parts.items()}
