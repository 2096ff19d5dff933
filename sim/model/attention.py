"""Causal self-attention of one window, in blocks of queries that skip the keys they can't see."""

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

#: Queries handled at a time.
BLOCK = 128


def attention(
    q: Float32[Array, "heads t size"],
    k: Float32[Array, "kv_heads t size"],
    v: Float32[Array, "kv_heads t size"],
    *,
    scale: float,
    softcap: float | None = None,
    window: int | Int32[Array, ""] | None = None,
) -> Float32[Array, "t heads*size"]:
    """Return what the heads read, ``softmax(scale * q k^T) v`` over the tokens each query sees.

    Consecutive query heads share a key/value head (grouped queries).

    Parameters
    ----------
    softcap : float, optional
        Bounds scores to ``softcap * tanh(score / softcap)`` (Gemma 2, arXiv 2408.00118).
    window : int or Array, optional
        Tokens that a query sees, itself included; ``None`` sees all before it. A traced value
        masks keys but can't skip them.
    """
    heads, count, size = q.shape
    groups = q.reshape(len(k), heads // len(k), count, size) * scale
    outputs = []
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        first = max(0, start - window + 1) if isinstance(window, int) else 0
        block = groups[:, :, start:stop].reshape(len(k), -1, size)
        scores = jnp.einsum("hqd,hkd->hqk", block, k[:, first:stop])
        if softcap is not None:
            scores = softcap * jnp.tanh(scores / softcap)
        scores = scores.reshape(*groups.shape[:2], stop - start, stop - first)
        scores = jnp.where(_visible(start, first, stop, window), scores, -jnp.inf)
        weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = jnp.einsum(
            "hqk,hkd->hqd", weights.reshape(len(k), -1, stop - first), v[:, first:stop]
        )
        mixed = mixed.reshape(*groups.shape[:2], stop - start, size)
        outputs.append(mixed / weights.sum(axis=-1, keepdims=True))
    joined = jnp.concatenate(outputs, axis=2).reshape(heads, count, size)
    return joined.transpose(1, 0, 2).reshape(count, heads * size)


def _visible(start: int, first: int, stop: int, window: int | Array | None) -> Array:
    """Which keys ``first .. stop - 1`` the queries ``start .. stop - 1`` see."""
    queries, keys = jnp.arange(start, stop)[:, None], jnp.arange(first, stop)
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)
