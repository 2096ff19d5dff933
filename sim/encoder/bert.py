"""The forward pass of a BERT encoder (Devlin et al., arXiv:1810.04805), post-norm, in float32."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float32, Int32

#: Full float32 products; the default of an accelerator is BF16 or TF32.
HIGHEST = jax.lax.Precision.HIGHEST

Params = Mapping[str, Array]
Hidden = Float32[Array, "b t d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """Shape of an encoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    max_positions: int
    norm_eps: float

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Return the shape (out, in) of every linear layer by its name in the checkpoint."""
        d, wide = self.hidden_size, self.intermediate_size
        parts = {
            "attention.self.query": (d, d),
            "attention.self.key": (d, d),
            "attention.self.value": (d, d),
            "attention.output.dense": (d, d),
            "intermediate.dense": (wide, d),
            "output.dense": (d, wide),
        }
        return {
            f"encoder.layer.{i}.{name}": shape
            for i in range(self.layers)
            for name, shape in parts.items()
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor that the forward pass reads."""
        d = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, d),
            "embeddings.position_embeddings.weight": (self.max_positions, d),
            "embeddings.token_type_embeddings.weight": (2, d),
        }
        for name, (out, inner) in self.linear_shapes().items():
            shapes |= {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}
        norms = ["embeddings.LayerNorm"]
        for i in range(self.layers):
            layer = f"encoder.layer.{i}"
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name in norms:
            shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
        return shapes


def embed(
    params: Params, tokens: Int32[Array, "b t"], mask: Bool[Array, "b t"], config: BertConfig
) -> Float32[Array, "b d"]:
    """Return the mean of the last hidden states over the tokens of ``mask``, of unit length.

    Sentence-BERT, arXiv:1908.10084, section 3, with mean pooling.
    """
    hidden = hidden_states(params, tokens, mask, config)
    weights = mask[..., None].astype(jnp.float32)
    mean = jnp.sum(hidden * weights, axis=1) / jnp.sum(weights, axis=1)
    unit: Array = mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)
    return unit


def hidden_states(
    params: Params, tokens: Int32[Array, "b t"], mask: Bool[Array, "b t"], config: BertConfig
) -> Hidden:
    """Return the output of the last layer."""
    x = params["embeddings.word_embeddings.weight"][tokens]
    x = x + params["embeddings.token_type_embeddings.weight"][0]
    x = x + params["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = _norm(x, params, "embeddings.LayerNorm", config)
    for index in range(config.layers):
        x = _layer(x, mask, params, f"encoder.layer.{index}", config)
    return x


def _layer(
    x: Hidden, mask: Bool[Array, "b t"], params: Params, prefix: str, config: BertConfig
) -> Hidden:
    read = _attention(x, mask, params, f"{prefix}.attention.self", config)
    read = _linear(read, params, f"{prefix}.attention.output.dense")
    x = _norm(x + read, params, f"{prefix}.attention.output.LayerNorm", config)
    inner = jax.nn.gelu(_linear(x, params, f"{prefix}.intermediate.dense"), approximate=False)
    out = _linear(inner, params, f"{prefix}.output.dense")
    return _norm(x + out, params, f"{prefix}.output.LayerNorm", config)


def _attention(
    x: Hidden, mask: Bool[Array, "b t"], params: Params, prefix: str, config: BertConfig
) -> Hidden:
    q, k, v = (
        _linear(x, params, f"{prefix}.{part}").reshape(*x.shape[:2], config.heads, -1)
        for part in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=HIGHEST) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], scores, -jnp.inf), axis=-1)
    read: Array = jnp.einsum("bhqk,bkhd->bqhd", weights, v, precision=HIGHEST)
    return read.reshape(x.shape)


def _linear(x: Float32[Array, "b t in"], params: Params, name: str) -> Float32[Array, "b t out"]:
    product: Array = jnp.matmul(x, params[f"{name}.weight"].T, precision=HIGHEST)
    return product + params[f"{name}.bias"]


def _norm(x: Hidden, params: Params, name: str, config: BertConfig) -> Hidden:
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    normed = (x - mean) * jax.lax.rsqrt(variance + config.norm_eps)
    return normed * params[f"{name}.weight"] + params[f"{name}.bias"]
