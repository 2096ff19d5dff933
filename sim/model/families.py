"""The supported families: what their ``config.json`` means, as transformers 5.24 reads it.

Each reader turns the fields of one family into a :class:`ModelConfig`; the defaults of absent
fields are those of the family's configuration class in transformers. A field that changes the
mathematics in a way that the forward pass lacks is refused.

Examples
--------
>>> config = config_from_hf({"model_type": "llama", "hidden_size": 512, "vocab_size": 1000})
>>> config.layers, config.kv_heads, config.head_dim
(32, 32, 16)
>>> config_from_hf({"model_type": "llama", "rope_scaling": {"rope_type": "dynamic"}})
Traceback (most recent call last):
    ...
ValueError: llama configuration, rope_scaling: rope_type must be one of default, linear, llama3,
yarn, longrope, su, not "dynamic"
"""

from collections.abc import Callable, Mapping
from typing import Any

from sim.model.config import ModelConfig
from sim.model.config_reader import ConfigReader
from sim.model.family_fields import (
    ACTIVATIONS,
    MAX_LAYERS,
    Shape,
    even_head_dim,
    late_window,
    read_head_dim,
    read_shape,
    uniform_window,
    windowed_layers,
)
from sim.model.family_switches import ignored_notes, switches
from sim.model.hf_tensors import RawTensor as RawTensor
from sim.model.hf_tensors import hf_recipe as hf_recipe
from sim.model.hf_tensors import read_hf as read_hf
from sim.model.rope_reader import read_rope
from sim.model.tensors import EMBED_TOKENS as EMBED_TOKENS
from sim.model.tensors import LM_HEAD as LM_HEAD
from sim.model.tensors import linear_names as linear_names
from sim.model.tensors import tensor_shapes as tensor_shapes


def config_from_hf(raw: Mapping[str, object]) -> ModelConfig:
    """Return what a parsed ``config.json`` describes; raise ``ValueError`` where unsupported."""
    return read_config(raw)[0]


def read_config(raw: Mapping[str, object]) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return what a parsed ``config.json`` describes, and notes for the report.

    Fields that the family's configuration class and model in transformers do not read are ignored,
    as transformers ignores them; a note names those that are not of training or generation.
    """
    family = raw.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(
            f"model_type {ConfigReader(raw, '').shown('model_type')} is not supported; "
            f"supported are {', '.join(FAMILIES)}"
        )
    reader = ConfigReader(raw, f"{family} configuration")
    config = FAMILIES[family](reader)
    ignored = reader.finish(switches(family))
    return config, ignored_notes(family, {name: raw[name] for name in ignored})


def _llama_like(
    reader: ConfigReader, family: str, shape: Shape, head_dim: int, **parts: Any
) -> ModelConfig:
    """RMSNorm, rotary positions, a gated MLP; ``parts`` overrides fields of the configuration."""
    rope = read_rope(reader, head_dim=head_dim, max_positions=shape["max_positions"])
    common: dict[str, Any] = {
        "norm_eps": reader.number("rms_norm_eps", 1e-6),
        "tie_embeddings": reader.flag("tie_word_embeddings", False),
        "rope": rope,
    }
    if "activation" not in parts:
        common["activation"] = reader.choice("hidden_act", "silu", ACTIVATIONS)
    return ModelConfig(family=family, head_dim=head_dim, **shape, **common | parts)


def _llama(reader: ConfigReader) -> ModelConfig:
    shape = read_shape(
        reader, vocab=32000, hidden=4096, intermediate=11008, layers=32, heads=32, positions=2048
    )
    bias = reader.flag("attention_bias", False)
    return _llama_like(
        reader,
        "llama",
        shape,
        read_head_dim(reader, shape),
        qkv_bias=bias,
        attention_output_bias=bias,
        mlp_bias=reader.flag("mlp_bias", False),
    )


def _mistral(reader: ConfigReader) -> ModelConfig:
    shape = read_shape(
        reader,
        vocab=32000,
        hidden=4096,
        intermediate=14336,
        layers=32,
        heads=32,
        kv_heads=8,
        positions=4096 * 32,
    )
    return _llama_like(
        reader,
        "mistral",
        shape,
        read_head_dim(reader, shape),
        sliding_window=uniform_window(reader, shape["layers"], 4096),
    )


def _qwen_shape(reader: ConfigReader) -> Shape:
    return read_shape(
        reader,
        vocab=151936,
        hidden=4096,
        intermediate=22016,
        layers=32,
        heads=32,
        kv_heads=32,
        positions=32768,
    )


def _qwen2(reader: ConfigReader) -> ModelConfig:
    shape = _qwen_shape(reader)
    return _llama_like(
        reader,
        "qwen2",
        shape,
        read_head_dim(reader, shape),
        qkv_bias=True,
        **late_window(reader, shape["layers"]),
    )


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
        **late_window(reader, shape["layers"]),
    )


def _phi3(reader: ConfigReader) -> ModelConfig:
    shape = read_shape(
        reader, vocab=32064, hidden=3072, intermediate=8192, layers=32, heads=32, positions=4096
    )
    head_dim = even_head_dim(reader, shape["hidden_size"], shape["heads"])
    reader.only("head_dim", None, head_dim)
    rope = read_rope(
        reader,
        head_dim=head_dim,
        max_positions=shape["max_positions"],
        types=("default", "longrope"),
        partial=1.0,
        original_positions=4096,
    )
    return ModelConfig(
        family="phi3",
        head_dim=head_dim,
        **shape,
        norm_eps=reader.number("rms_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", "silu", ACTIVATIONS),
        tie_embeddings=reader.flag("tie_word_embeddings", False),
        rope=rope,
        sliding_window=uniform_window(reader, shape["layers"], None),
    )


def _gemma2(reader: ConfigReader) -> ModelConfig:
    shape = read_shape(
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
    windowed = windowed_layers(reader, shape["layers"], alternating)
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
        attention_scale=reader.number("query_pre_attn_scalar", 256.0) ** -0.5,
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
        head_dim=even_head_dim(reader, hidden, heads),
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
    hidden = reader.integer(reader.one_of("n_embd", "hidden_size"), 768)
    heads = reader.integer(reader.one_of("n_head", "num_attention_heads"), 12)
    positions = reader.integer(reader.one_of("n_positions", "max_position_embeddings"), 1024)
    layers = reader.one_of("n_layer", "num_hidden_layers")
    return ModelConfig(
        family="gpt2",
        vocab_size=reader.integer("vocab_size", 50257),
        hidden_size=hidden,
        intermediate_size=reader.integer("n_inner", 4 * hidden),
        layers=reader.integer(layers, 12, high=MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=even_head_dim(reader, hidden, heads),
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
    shape = read_shape(
        reader, vocab=51200, hidden=2048, intermediate=8192, layers=24, heads=32, positions=2048
    )
    head_dim = even_head_dim(reader, shape["hidden_size"], shape["heads"])
    reader.only("head_dim", None, head_dim)
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
