"""Fields that several families share, with their meaning in transformers 5.24."""

from collections.abc import Mapping
from typing import Any, TypedDict

from sim.model.config import Activation
from sim.model.config_reader import ConfigReader

#: Names of activation functions in transformers.
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

MAX_LAYERS = 2**16


class Shape(TypedDict):
    """Sizes of a model, under the names of :class:`~sim.model.config.ModelConfig`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    max_positions: int


def read_shape(
    reader: ConfigReader,
    *,
    vocab: int,
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    positions: int,
    kv_heads: int | None = None,
) -> Shape:
    """Read the sizes whose names the families from Llama on share; arguments are defaults."""
    query_heads = reader.integer("num_attention_heads", heads)
    return {
        "vocab_size": reader.integer("vocab_size", vocab),
        "hidden_size": reader.integer("hidden_size", hidden),
        "intermediate_size": reader.integer("intermediate_size", intermediate),
        "layers": reader.integer("num_hidden_layers", layers, high=MAX_LAYERS),
        "heads": query_heads,
        "kv_heads": reader.integer("num_key_value_heads", query_heads)
        if kv_heads is None or reader.given("num_key_value_heads")
        else kv_heads,
        "max_positions": reader.integer("max_position_embeddings", positions),
    }


def read_head_dim(reader: ConfigReader, shape: Shape) -> int:
    """Read the size of a head; by default heads are equal parts of the hidden size."""
    if reader.take("head_dim") is not None:
        return reader.integer("head_dim", 1)
    return even_head_dim(reader, shape["hidden_size"], shape["heads"])


def even_head_dim(reader: ConfigReader, hidden: int, heads: int) -> int:
    """Return the size of a head where the heads are equal parts of the hidden size."""
    if hidden % heads:
        raise ValueError(
            f"{reader.context}: hidden size {hidden} can't be divided among {heads} heads"
        )
    return hidden // heads


def windowed_layers(reader: ConfigReader, layers: int, default: list[bool]) -> tuple[bool, ...]:
    """Read which layers have a sliding window."""
    kinds = reader.take("layer_types")
    if kinds is None:
        return tuple(default)
    meaning = {"sliding_attention": True, "full_attention": False}
    if not isinstance(kinds, list) or any(kind not in list(meaning) for kind in kinds):
        raise reader.wrong("layer_types", f"must be a list of {' and '.join(meaning)}")
    if len(kinds) != layers:
        raise reader.wrong("layer_types", f"must have {layers} entries, one a layer")
    return tuple(meaning[kind] for kind in kinds)


def uniform_window(reader: ConfigReader, layers: int, default: int | None) -> int | None:
    """Read a window that holds for all layers or none; ``null`` is none."""
    absent = not reader.given("sliding_window")
    window = default if absent else reader.optional_integer("sliding_window")
    expected = (window is not None,) * layers
    if windowed_layers(reader, layers, list(expected)) != expected:
        raise reader.wrong("layer_types", "must be the same for all layers, as sliding_window says")
    return window


def late_window(reader: ConfigReader, layers: int) -> dict[str, Any]:
    """Read the window of the layers from ``max_window_layers`` on, if it is switched on."""
    size = reader.optional_integer("sliding_window") if reader.given("sliding_window") else 4096
    full_layers = reader.integer("max_window_layers", 28, low=0)
    if not reader.flag("use_sliding_window", False):
        size = None
    default = [size is not None and i >= full_layers for i in range(layers)]
    windowed = windowed_layers(reader, layers, default)
    if size is None and any(windowed):
        raise reader.wrong("layer_types", "must be full_attention without a sliding window")
    return {"sliding_window": size, "windowed_layers": windowed} if any(windowed) else {}
