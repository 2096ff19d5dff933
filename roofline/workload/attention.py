"""Attention over the KV cache: fused, in three kernels, and on latent vectors."""

from collections.abc import Iterator

import numpy as np

from roofline.workload.operator import Amount, Operator
from roofline.workload.step import Sequences, StepContext

#: Vector operations of a score in a softmax; a convention, since an exponential counts as several.
SOFTMAX_OPS = 5.0


def scores_and_values(context: StepContext) -> Iterator[Operator]:
    """Yield scores, softmax and values, as one operator where they are fused."""
    shape, kv_bytes = context.shape, context.format.kv_bytes(context.shape)
    pairs, read = _seen(context, whole=shape.global_layers)
    head_ops = 2.0 * shape.heads * shape.head_dim
    kv = read * kv_bytes
    if not context.options.shares_kv:
        kv *= shape.heads / shape.kv_heads
    written = context.tokens * kv_bytes * shape.layers
    row_bytes = shape.heads * shape.head_dim * (context.value_bytes + context.input_bytes)
    rows = context.tokens * row_bytes * shape.layers
    softmax = SOFTMAX_OPS * shape.heads * pairs
    if context.options.fused_attention:
        yield Operator(
            name="attention",
            kind="attention",
            count=shape.layers,
            ops=2 * head_ops * pairs,
            vector_ops=softmax,
            kv_bytes=kv,
            activation_bytes=rows + written,
            queries=context.tokens / context.sequences,
            scores=shape.heads * pairs,
        )
        return
    scores = shape.heads * _stored_pairs(context) * context.value_bytes
    for name, extra in (("scores", written), ("values", 0.0)):
        yield Operator(
            name=name,
            kind="attention",
            count=shape.layers,
            ops=head_ops * pairs,
            kv_bytes=kv / 2,
            activation_bytes=rows / 2 + scores + extra,
            queries=context.tokens / context.sequences,
        )
    yield Operator(
        name="softmax",
        kind="vector",
        count=shape.layers,
        vector_ops=softmax,
        activation_bytes=2 * scores,
    )


def latent_attention(context: StepContext) -> Operator:
    """Return attention on latent vectors, which each head reads as they are in decode.

    DeepSeek-V2, arXiv:2405.04434, section 2.1.2; prompts expand keys and values first, which the
    product ``kv_b`` counts.
    """
    shape, latent = context.shape, context.shape.latent
    assert latent is not None
    wide = latent.nope_dim + latent.rope_dim + latent.value_dim
    absorbed = 2 * latent.kv_rank + latent.rope_dim
    ops: Amount = 0.0
    for part in context.step:
        width = np.where(np.asarray(part.new) == 1, absorbed, wide)
        ops = ops + 2.0 * shape.heads * width * part.pairs() * shape.layers
    pairs, read = _seen(context, whole=shape.layers)
    stored = context.format.kv_bytes(shape)
    heads = shape.heads * (latent.value_dim + latent.nope_dim + latent.rope_dim)
    return Operator(
        name="attention",
        kind="attention",
        count=shape.layers,
        ops=ops,
        vector_ops=SOFTMAX_OPS * shape.heads * pairs,
        kv_bytes=read * stored,
        activation_bytes=context.tokens * shape.layers * (heads * context.value_bytes + stored),
        queries=context.tokens / context.sequences,
    )


def _seen(context: StepContext, *, whole: int) -> tuple[Amount, Amount]:
    """Return pairs and tokens read, summed over layers of which ``whole`` have no window."""
    shape = context.shape
    pairs: Amount = 0.0
    read: Amount = 0.0
    for layers, window in ((whole, None), (shape.layers - whole, shape.window)):
        if layers == 0:
            continue
        for part in context.step:
            is_causal = context.options.causal
            pairs = pairs + layers * (part.pairs(window) if is_causal else part.all_pairs())
            read = read + layers * part.read_tokens(window) * _passes(context, part)
    return pairs, read


def _stored_pairs(context: StepContext) -> Amount:
    """Return the scores that an attention in three kernels writes, masked ones too, in all layers.

    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> from roofline.workload.step import Options, context_of
    >>> shape, step = load_model("llama-2-7b"), [Sequences(batch=1, new=4)]
    >>> _stored_pairs(context_of(shape, parse_format("fp16"), step, Options(), None)) / shape.layers
    16.0
    """
    return context.shape.layers * sum(part.all_pairs() for part in context.step)


def _passes(context: StepContext, part: Sequences) -> Amount:
    """Return how often a fused attention reads keys and values: once for each block of rows."""
    if context.on_chip_bytes is None or not context.options.fused_attention:
        return 1.0
    row_bytes = 4 * context.shape.head_dim * context.value_bytes
    rows = np.maximum(1.0, np.floor(np.divide(context.on_chip_bytes, row_bytes)))
    return np.maximum(1.0, np.ceil(part.new / rows))
