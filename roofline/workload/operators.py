"""Operators of a decoder-only transformer: operations and bytes of one step of the model.

A step computes new tokens of several sequences, each after the tokens in its KV cache: ``new`` is
the prompt in prefill, 1 in decode. All counts follow from first principles: a product
of (T, i) and (i, o) is ``2 T i o`` operations, causal attention ``4 h d`` for each pair of a token
and a token that it attends to. Sizes may be numbers or NumPy arrays, which broadcast.
"""

from collections.abc import Iterator

from roofline.model.model_shape import ModelShape, latent_linears
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.attention import latent_attention, scores_and_values
from roofline.workload.online import hadamard
from roofline.workload.operator import EXPERT, Amount, Operator
from roofline.workload.products import Part, corrected, linear, network
from roofline.workload.step import Options, Step, StepContext, context_of

#: Vector operations of a value in a norm, by kind, and in a rotary embedding; conventions.
NORM_OPS = {"rms": 4.0, "layer": 7.0}
ROPE_OPS = 6.0
#: Bytes of one FP32 logit that sampling reads.
SAMPLE_BYTES = 4.0


def operators(
    shape: ModelShape,
    fmt: ServingFormat,
    step: Step,
    *,
    options: Options | None = None,
    on_chip_bytes: Amount | None = None,
) -> list[Operator]:
    """Return the operators of one step, in the order of the first layer.

    Parameters
    ----------
    on_chip_bytes
        Memory for the rows of a fused attention; a longer prompt reads keys and values again. All
        prompts fit if it is None.

    Examples
    --------
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> from roofline.workload.step import Sequences
    >>> step = [Sequences(batch=1, new=1, context=2047)]
    >>> found = operators(load_model("llama-2-7b"), parse_format("fp16"), step)
    >>> sum(op.ops for op in found if op.kind == "linear") / 1e9
    13.214154752
    """
    context = context_of(shape, fmt, step, options or Options(), on_chip_bytes)
    return [_embedding(context), *_attention(context), *_network(context), *_head(context)]


def _embedding(context: StepContext) -> Operator:
    row = context.format.tensor_bytes("embedding", context.shape.hidden, 1, context.shape)
    written = context.tokens * context.shape.hidden * context.value_bytes
    return Operator(
        name="embedding", kind="vector", count=1, activation_bytes=context.tokens * row + written
    )


def _attention(context: StepContext) -> Iterator[Operator]:
    shape = context.shape
    yield _norm(context, "attention norm")
    if shape.latent is not None:
        parts = latent_linears(shape)
        yield from (linear(context, part[0], [part], shape.layers) for part in parts[:-1])
        yield latent_attention(context)
    else:
        yield from _queries_keys_values(context)
        yield _rope(context)
        yield from hadamard(context, "q and k")
        yield from scores_and_values(context)
        parts = [("o", shape.heads * shape.head_dim, shape.hidden)]
    yield from hadamard(context, "o")
    yield from corrected(context, "o", parts[-1:], shape.layers)
    yield _residual(context, "attention add")


def _queries_keys_values(context: StepContext) -> Iterator[Operator]:
    shape = context.shape
    kv = shape.kv_heads * shape.head_dim
    width = shape.heads * shape.head_dim
    parts: list[Part] = [("q", shape.hidden, width), ("k", shape.hidden, kv)]
    parts.append(("v", shape.hidden, kv))
    if context.options.fused_products:
        yield from corrected(context, "qkv", parts, shape.layers)
    else:
        for part in parts:
            yield from corrected(context, part[0], [part], shape.layers)


def _network(context: StepContext) -> Iterator[Operator]:
    shape, experts = context.shape, context.shape.experts
    yield _norm(context, "network norm")
    dense = shape.layers - shape.expert_layers
    if dense:
        yield from network(context, "", shape.intermediate, dense)
    if experts:
        router = [("router", shape.hidden, experts.count)]
        yield linear(context, "router", router, shape.expert_layers)
        if experts.shared_intermediate:
            yield from network(context, "shared ", experts.shared_intermediate, shape.expert_layers)
        yield from network(context, EXPERT, experts.intermediate, shape.expert_layers)
    yield _residual(context, "network add")


def _head(context: StepContext) -> Iterator[Operator]:
    shape = context.shape
    rows = context.tokens if context.options.all_logits else context.sequences
    yield Operator(
        name="final norm",
        kind="vector",
        count=1,
        vector_ops=NORM_OPS[shape.norm] * rows * shape.hidden,
        activation_bytes=2 * rows * shape.hidden * context.value_bytes,
    )
    yield Operator(
        name="lm_head",
        kind="linear",
        count=1,
        ops=2.0 * rows * shape.head_params,
        weight_bytes=context.format.tensor_bytes("head", shape.hidden, shape.vocabulary, shape),
        activation_bytes=rows
        * (shape.hidden * context.input_bytes + shape.vocabulary * context.value_bytes),
        weights=shape.head_params,
        outputs=shape.vocabulary,
        step_tokens=rows,
    )
    yield Operator(
        name="sampling",
        kind="vector",
        count=1,
        activation_bytes=context.sequences * shape.vocabulary * SAMPLE_BYTES,
    )


def _norm(context: StepContext, name: str) -> Operator:
    shape = context.shape
    values = context.tokens * shape.hidden * shape.layers
    return Operator(
        name=name,
        kind="vector",
        count=shape.layers,
        vector_ops=NORM_OPS[shape.norm] * values,
        activation_bytes=values * (context.value_bytes + context.input_bytes),
    )


def _rope(context: StepContext) -> Operator:
    shape = context.shape
    values = context.tokens * (shape.heads + shape.kv_heads) * shape.head_dim * shape.layers
    return Operator(
        name="rope",
        kind="vector",
        count=shape.layers,
        vector_ops=0.0 if shape.position_vectors else ROPE_OPS * values,
        activation_bytes=2 * values * context.value_bytes,
    )


def _residual(context: StepContext, name: str) -> Operator:
    shape = context.shape
    values = context.tokens * shape.hidden * shape.layers
    return Operator(
        name=name,
        kind="vector",
        count=shape.layers,
        vector_ops=1.0 * values,
        activation_bytes=3 * values * context.value_bytes,
    )
