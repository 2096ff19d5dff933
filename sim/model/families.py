"""The supported families: what their ``config.json`` means, as transformers 5.23 reads it.

Each reader turns the fields of one family into a :class:`ModelConfig`; the defaults of absent
fields are those of the family's configuration class in transformers. A field that changes the
mathematics in a way that the forward pass lacks is refused.

Examples
--------
>>> config = config_from_hf({"model_type": "llama", "hidden_size": 512, "vocab_size": 1000})
>>> config.layers, config.kv_heads, config.head_dim
(32, 32, 16)
>>> config_from_hf({"model_type": "llama", "rope_scaling": {"rope_type": "yarn"}})
Traceback (most recent call last):
    ...
ValueError: llama configuration, rope_scaling: rope_type must be one of default, linear, llama3,
longrope, su, not "yarn"
"""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from sim.model.config import Activation, ModelConfig
from sim.model.config_reader import ConfigReader
from sim.model.hf_tensors import RawTensor as RawTensor
from sim.model.hf_tensors import hf_recipe as hf_recipe
from sim.model.hf_tensors import read_hf as read_hf
from sim.model.rope_reader import read_rope
from sim.model.tensors import EMBED_TOKENS as EMBED_TOKENS
from sim.model.tensors import LM_HEAD as LM_HEAD
from sim.model.tensors import linear_names as linear_names
from sim.model.tensors import tensor_shapes as tensor_shapes

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


class _Shape(TypedDict):
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    max_positions: int


def config_from_hf(raw: Mapping[str, object]) -> ModelConfig:
    """Return what a parsed ``config.json`` describes; raise ``ValueError`` where unsupported."""
    family = raw.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(
            f"model_type {ConfigReader(raw, '').shown('model_type')} is not supported; "
            f"supported are {', '.join(FAMILIES)}"
        )
    reader = ConfigReader(raw, f"{family} configuration")
    config = FAMILIES[family](reader)
    reader.finish()
    return config


def _shape(
    reader: ConfigReader,
    *,
    vocab: int,
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    positions: int,
    kv_heads: int | None = None,
) -> _Shape:
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


def _head_dim(reader: ConfigReader, shape: _Shape) -> int:
    """Read the size of a head; the hidden size is divided among the heads where it is absent."""
    if reader.take("head_dim") is not None:
        return reader.integer("head_dim", 1)
    return _even_head_dim(reader, shape["hidden_size"], shape["heads"])


def _even_head_dim(reader: ConfigReader, hidden: int, heads: int) -> int:
    if hidden % heads:
        raise ValueError(
            f"{reader.context}: hidden size {hidden} can't be divided among {heads} heads"
        )
    return hidden // heads


def _windowed_layers(reader: ConfigReader, layers: int, default: list[bool]) -> tuple[bool, ...]:
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


def _uniform_window(reader: ConfigReader, layers: int, default: int | None) -> int | None:
    """Read a window that holds for all layers or none; ``null`` is none."""
    absent = not reader.given("sliding_window")
    window = default if absent else reader.optional_integer("sliding_window")
    expected = (window is not None,) * layers
    if _windowed_layers(reader, layers, list(expected)) != expected:
        raise reader.wrong("layer_types", "must be the same for all layers, as sliding_window says")
    return window


def _llama_like(
    reader: ConfigReader, family: str, shape: _Shape, head_dim: int, **parts: Any
) -> ModelConfig:
    """RMSNorm, rotary positions and a gated MLP; ``parts`` is what a family does differently."""
    rope = read_rope(reader, head_dim=head_dim, max_positions=shape["max_positions"])
    common: dict[str, Any] = {
        "norm_eps": reader.number("rms_norm_eps", 1e-6),
        "activation": reader.choice("hidden_act", "silu", ACTIVATIONS),
        "tie_embeddings": reader.flag("tie_word_embeddings", False),
        "rope": rope,
    }
    return ModelConfig(family=family, head_dim=head_dim, **shape, **common | parts)


def _llama(reader: ConfigReader) -> ModelConfig:
    shape = _shape(
        reader, vocab=32000, hidden=4096, intermediate=11008, layers=32, heads=32, positions=2048
    )
    bias = reader.flag("attention_bias", False)
    return _llama_like(
        reader,
        "llama",
        shape,
        _head_dim(reader, shape),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=reader.flag("mlp_bias", False),
    )


def _mistral(reader: ConfigReader) -> ModelConfig:
    shape = _shape(
        reader,
        vocab=32000,
        hidden=4096,
        intermediate=14336,
        layers=32,
        heads=32,
        kv_heads=8,
        positions=4096 * 32,
    )
    window = _uniform_window(reader, shape["layers"], 4096)
    return _llama_like(reader, "mistral", shape, _head_dim(reader, shape), sliding_window=window)


def _qwen_shape(reader: ConfigReader) -> _Shape:
    return _shape(
        reader,
        vocab=151936,
        hidden=4096,
        intermediate=22016,
        layers=32,
        heads=32,
        kv_heads=32,
        positions=32768,
    )


def _qwen_window(reader: ConfigReader, layers: int) -> dict[str, Any]:
    """Read the window of the layers from ``max_window_layers`` on, if it is switched on."""
    size = reader.optional_integer("sliding_window") if reader.given("sliding_window") else 4096
    full_layers = reader.integer("max_window_layers", 28, low=0)
    if not reader.flag("use_sliding_window", False):
        size = None
    default = [size is not None and i >= full_layers for i in range(layers)]
    windowed = _windowed_layers(reader, layers, default)
    if size is None and any(windowed):
        raise reader.wrong("layer_types", "must be full_attention without a sliding window")
    return {"sliding_window": size, "windowed_layers": windowed} if any(windowed) else {}


def _qwen2(reader: ConfigReader) -> ModelConfig:
    shape = _qwen_shape(reader)
    window = _qwen_window(reader, shape["layers"])
    return _llama_like(reader, "qwen2", shape, _head_dim(reader, shape), qkv_bias=True, **window)


def _qwen3(reader: ConfigReader) -> ModelConfig:
    shape = _qwen_shape(reader)
    bias = reader.flag("attention_bias", False)
    return _llama_like(
        reader,
        "qwen3",
        shape,
        reader.integer("head_dim", 128),
        qk_norm=True,
        qkv_bias=bias,
        attention_output_bias=bias,
        **_qwen_window(reader, shape["layers"]),
    )


def _phi3(reader: ConfigReader) -> ModelConfig:
    shape = _shape(
        reader, vocab=32064, hidden=3072, intermediate=8192, layers=32, heads=32, positions=4096
    )
    head_dim = _even_head_dim(reader, shape["hidden_size"], shape["heads"])
    rope = read_rope(
        reader,
        head_dim=head_dim,
        max_positions=shape["max_positions"],
        types=("default", "longrope"),
        partial=1.0,
        original_positions=reader.integer("original_max_position_embeddings", 4096),
    )
    return ModelConfig(
        family="phi3",
        head_dim=head_dim,
        **shape,
        norm_eps=reader.number("rms_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", "silu", ACTIVATIONS),
        tie_embeddings=reader.flag("tie_word_embeddings", False),
        rope=rope,
        sliding_window=_uniform_window(reader, shape["layers"], None),
    )


def _gemma2(reader: ConfigReader) -> ModelConfig:
    shape = _shape(
        reader,
        vocab=256000,
        hidden=2304,
        intermediate=9216,
        layers=26,
        heads=8,
        kv_heads=4,
        positions=8192,
    )
    head_dim = reader.integer("head_dim", 256)
    size = reader.optional_integer("sliding_window") if reader.given("sliding_window") else 4096
    alternating = [layer % 2 == 0 for layer in range(shape["layers"])]
    windowed = _windowed_layers(reader, shape["layers"], alternating)
    if size is None and any(windowed):
        raise reader.wrong("sliding_window", "must be an integer for layers of sliding_attention")
    # Released files repeat the activation under a name that transformers does not read.
    reader.only("hidden_act", None, reader.take("hidden_activation", "gelu_pytorch_tanh"))
    bias = reader.flag("attention_bias", False)
    return _llama_like(
        reader,
        "gemma2",
        shape,
        head_dim,
        activation=reader.choice("hidden_activation", "gelu_pytorch_tanh", ACTIVATIONS),
        tie_embeddings=reader.flag("tie_word_embeddings", True),
        norm_weight_offset=1.0,
        post_norms=True,
        qkv_bias=bias,
        attention_output_bias=bias,
        attention_scale=reader.number("query_pre_attn_scalar", 256) ** -0.5,
        attention_softcap=reader.optional_number("attn_logit_softcapping", 50.0),
        final_softcap=reader.optional_number("final_logit_softcapping", 30.0),
        sliding_window=size,
        windowed_layers=windowed,
        # float32 models multiply by the float32 root; only bfloat16 ones round it to bfloat16.
        embedding_scale=shape["hidden_size"] ** 0.5,
    )


def _opt(reader: ConfigReader) -> ModelConfig:
    hidden, heads = reader.integer("hidden_size", 768), reader.integer("num_attention_heads", 12)
    reader.only("word_embed_proj_dim", None, hidden)
    reader.only("layer_norm_elementwise_affine", True)
    reader.only("_remove_final_layer_norm", False)
    norm_first = reader.flag("do_layer_norm_before", True)
    bias = reader.flag("enable_bias", True)
    return ModelConfig(
        family="opt",
        vocab_size=reader.integer("vocab_size", 50272),
        hidden_size=hidden,
        intermediate_size=reader.integer("ffn_dim", 3072),
        layers=reader.integer("num_hidden_layers", 12, high=MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=_even_head_dim(reader, hidden, heads),
        max_positions=reader.integer("max_position_embeddings", 2048),
        norm="layer",
        norm_first=norm_first,
        final_norm=norm_first,
        learned_positions=True,
        position_offset=2,
        activation=reader.choice("activation_function", "relu", ACTIVATIONS),
        gated_mlp=False,
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=bias,
        tie_embeddings=reader.flag("tie_word_embeddings", True),
    )


def _gpt2(reader: ConfigReader) -> ModelConfig:
    hidden, heads = reader.integer("n_embd", 768), reader.integer("n_head", 12)
    positions = reader.integer("n_positions", 1024)
    reader.only("n_ctx", None, positions)
    return ModelConfig(
        family="gpt2",
        vocab_size=reader.integer("vocab_size", 50257),
        hidden_size=hidden,
        intermediate_size=reader.integer("n_inner", 4 * hidden),
        layers=reader.integer("n_layer", 12, high=MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=_even_head_dim(reader, hidden, heads),
        max_positions=positions,
        norm="layer",
        norm_eps=reader.number("layer_norm_epsilon", 1e-5),
        learned_positions=True,
        activation=reader.choice("activation_function", "gelu_new", ACTIVATIONS),
        gated_mlp=False,
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        attention_scale=None if reader.flag("scale_attn_weights", True) else 1.0,
        tie_embeddings=reader.flag("tie_word_embeddings", True),
    )


def _phi(reader: ConfigReader) -> ModelConfig:
    shape = _shape(
        reader, vocab=51200, hidden=2048, intermediate=8192, layers=24, heads=32, positions=2048
    )
    head_dim = _even_head_dim(reader, shape["hidden_size"], shape["heads"])
    return ModelConfig(
        family="phi",
        head_dim=head_dim,
        **shape,
        norm="layer",
        norm_eps=reader.number("layer_norm_eps", 1e-5),
        parallel_block=True,
        rope=read_rope(
            reader, head_dim=head_dim, max_positions=shape["max_positions"], partial=0.5
        ),
        activation=reader.choice("hidden_act", "gelu_new", ACTIVATIONS),
        gated_mlp=False,
        qkv_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        head_bias=True,
        tie_embeddings=reader.flag("tie_word_embeddings", False),
    )


#: Reader of each ``model_type``.
FAMILIES: Mapping[str, Callable[[ConfigReader], ModelConfig]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "opt": _opt,
    "gpt2": _gpt2,
    "phi": _phi,
}
