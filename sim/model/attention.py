"""Causal self-attention of one window, in blocks of queries that skip masked keys."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

#: Queries in a block.
BLOCK = 128

#: Full float32 products; the default of an accelerator is BF16 or TF32.
HIGHEST = jax.lax.Precision.HIGHEST

Scores = Float32[Array, "kv_heads group rows n"]


def attention(
    q: Float32[Array, "heads t size"],
    k: Float32[Array, "kv_heads t size"],
    v: Float32[Array, "kv_heads t size"],
    *,
    scale: float,
    softcap: float | None = None,
    window: int | Int32[Array, ""] | None = None,
) -> Float32[Array, "t heads*size"]:
    """Return the output of the heads, ``softmax(scale * q k^T) v`` over the tokens each query sees.

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
        scores = _scores(groups[:, :, start:stop], k[:, first:stop], softcap)
        # A minimum with infinities masks faster than a selection: it fuses with what follows.
        limits = jnp.where(_visible(start, stop, first, window), jnp.inf, -jnp.inf)
        outputs.append(_softmax_product(jnp.minimum(scores, limits), v[:, first:stop]))
    joined = jnp.concatenate(outputs, axis=2).reshape(heads, count, size)
    return joined.transpose(1, 0, 2).reshape(count, heads * size)


def _scores(
    queries: Float32[Array, "kv_heads group rows size"],
    keys: Float32[Array, "kv_heads n size"],
    softcap: float | None,
) -> Scores:
    """Return dot products, bounded by the soft cap; a group of queries is one matrix product."""
    rows = queries.reshape(len(keys), -1, queries.shape[-1])
    scores = jnp.einsum("hqd,hkd->hqk", rows, keys, precision=HIGHEST)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    return scores.reshape(*queries.shape[:3], -1)


def _visible(
    start: int, stop: int, first: int, window: int | Int32[Array, ""] | None
) -> Array | np.ndarray:
    """Return the mask: which keys ``first .. stop - 1`` the queries ``start .. stop - 1`` see."""
    queries, keys = np.arange(start, stop)[:, None], np.arange(first, stop)
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)


def _softmax_product(
    scores: Scores, values: Float32[Array, "kv_heads n size"]
) -> Float32[Array, "kv_heads group rows size"]:
    """Return ``softmax(scores) @ values``, normalised after the product, which has fewer values."""
    weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    rows = weights.reshape(len(values), -1, values.shape[1])
    product = jnp.einsum("hqk,hkd->hqd", rows, values, precision=HIGHEST)
    return product.reshape(*scores.shape[:3], -1) / weights.sum(axis=-1, keepdims=True)
