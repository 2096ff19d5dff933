"""Causal self-attention of one window, in blocks of queries that skip the keys they can't see."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

#: Queries handled at a time.
BLOCK = 128

#: Accelerators would otherwise multiply float32 with fewer bits.
HIGHEST = jax.lax.Precision.HIGHEST

Scores = Float32[Array, "kv_heads group rows _n"]


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
        # Without a window only the last keys, those of the block itself, need a mask.
        parts = [(0, start), (start, stop)] if start and window is None else [(first, stop)]
        queries, scores = groups[:, :, start:stop], []
        for low, high in parts:
            part = _scores(queries, k[:, low:high], softcap)
            if high == stop:
                part = jnp.where(_visible(start, stop, low, window), part, -jnp.inf)
            scores.append((part, v[:, low:high]))
        outputs.append(_softmax_product(scores))
    joined = jnp.concatenate(outputs, axis=2).reshape(heads, count, size)
    return joined.transpose(1, 0, 2).reshape(count, heads * size)


def _scores(
    queries: Float32[Array, "kv_heads group rows size"],
    keys: Float32[Array, "kv_heads n size"],
    softcap: float | None,
) -> Scores:
    """Return dot products, bounded by the soft cap; the queries of a group make one product."""
    rows = queries.reshape(len(keys), -1, queries.shape[-1])
    scores = jnp.einsum("hqd,hkd->hqk", rows, keys, precision=HIGHEST)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    return scores.reshape(*queries.shape[:3], -1)


def _visible(start: int, stop: int, low: int, window: int | Int32[Array, ""] | None) -> Array:
    """Which keys ``low .. stop - 1`` the queries ``start .. stop - 1`` see."""
    queries, keys = jnp.arange(start, stop)[:, None], jnp.arange(low, stop)
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)


def _softmax_product(
    parts: list[tuple[Scores, Float32[Array, "kv_heads _n size"]]],
) -> Float32[Array, "kv_heads group rows size"]:
    """Return ``softmax(scores) @ values`` where scores and values come in parts along the keys.

    The result of the product is normalised, which is smaller than the softmax.
    """
    tops = [scores.max(axis=-1, keepdims=True) for scores, _ in parts]
    top = tops[0] if len(tops) == 1 else jnp.maximum(*tops)
    mixed: Array = jnp.float32(0.0)
    total: Array = jnp.float32(0.0)
    for scores, values in parts:
        weights = jnp.exp(scores - top)
        rows = weights.reshape(len(values), -1, values.shape[1])
        product = jnp.einsum("hqk,hkd->hqd", rows, values, precision=HIGHEST)
        mixed = mixed + product.reshape(*scores.shape[:3], -1)
        total = total + weights.sum(axis=-1, keepdims=True)
    return mixed / total
