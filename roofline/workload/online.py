"""Run-time work of a quantization method: Hadamard transforms, and low-rank factors.

A Hadamard transform runs as a kernel of its own on vector units: it reads and writes each value
once, before the value is rounded to the format of activations. Factors are multiplied at the rates
of the quantized weights beside them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from numerics.solvers.hadamard import additions, check_blocks
from roofline.model.model_shape import ModelShape
from roofline.runtime.online_work import NO_WORK, OnlineWork
from roofline.workload.operator import Operator
from roofline.workload.step import StepContext

#: Activations that are transformed; the name of an operator begins with it.
Site = Literal["q and k", "o", "down"]
#: Last words of the operators' names.
HADAMARD, FACTOR = "Hadamard", "factor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Hadamard transforms of one site in one layer, for one token."""

    site: Site
    #: Values of the site.
    width: int
    #: Values of one transform.
    order: int
    #: Consecutive values from the first to the last of one transform.
    span: int

    @property
    def ops(self) -> int:
        """Additions, and one multiplication a value."""
        return self.width // self.order * additions(self.order) + self.width


def check_dense(shape: ModelShape) -> None:
    """Raise ValueError for a model whose layers a method cannot transform or correct."""
    if shape.experts is not None or shape.latent is not None:
        part = "experts" if shape.experts is not None else "latent attention"
        raise ValueError(
            f"{shape.name} has {part}; transforms and corrections are for dense models, such as "
            "llama-3.1-8b"
        )


def transforms_of(shape: ModelShape, work: OnlineWork) -> tuple[Transform, ...]:
    """Return the Hadamard transforms of one layer.

    Raises
    ------
    ValueError
        The model is not dense, an order does not divide the width, or has no Hadamard matrix.
    """
    if work == NO_WORK:
        return ()
    check_dense(shape)
    size, queries = shape.head_dim, shape.heads * shape.head_dim
    both = queries + shape.kv_heads * size
    # Site, its values, values that consist of whole transforms, order, and span.
    sites: tuple[tuple[Site, int, int, int | None, int], ...] = (
        ("q and k", both, size, work.qk, 1),
        ("o", queries, shape.heads, work.o, size),
        ("o", queries, queries, work.o_values, 1),
        ("down", shape.intermediate, shape.intermediate, work.down, 1),
    )
    found = []
    for site, width, whole, order, stride in sites:
        if order is not None:
            check_blocks(whole, order)
            found.append(Transform(site=site, width=width, order=order, span=order * stride))
    return tuple(found)


def hadamard(context: StepContext, site: Site) -> Iterator[Operator]:
    """Yield the Hadamard transforms of a site."""
    layers = context.shape.layers
    for one in transforms_of(context.shape, context.format.online):
        if one.site == site:
            yield Operator(
                name=f"{site} {HADAMARD}",
                kind="vector",
                count=layers,
                vector_ops=1.0 * context.tokens * one.ops * layers,
                activation_bytes=2 * context.tokens * one.width * layers * context.value_bytes,
            )


def factors(
    context: StepContext, name: str, parts: list[tuple[str, int, int]], layers: int
) -> Iterator[Operator]:
    """Yield the products with the low-rank factors of GEMMs that share their inputs.

    The right factors are one GEMM, whose results the left factor of each weight multiplies; the
    sums are added to the results of the weights, which are read and written again.
    """
    low_rank = context.format.online.low_rank
    if low_rank is None:
        return
    check_dense(context.shape)
    inputs, outputs = parts[0][1], sum(part[2] for part in parts)
    ranks = low_rank.rank * len(parts)
    right = len(parts) * low_rank.right.bytes(inputs, low_rank.rank)
    left = sum(low_rank.left.bytes(part[2], low_rank.rank) for part in parts)
    tokens, wide = context.tokens, context.value_bytes
    yield Operator(
        name=f"{name} right {FACTOR}",
        kind="linear",
        count=layers,
        ops=2.0 * tokens * inputs * ranks * layers,
        weight_bytes=right * layers,
        activation_bytes=tokens * (inputs * context.input_bytes + ranks * wide) * layers,
        weights=inputs * ranks * layers,
        outputs=ranks,
        step_tokens=tokens,
    )
    yield Operator(
        name=f"{name} left {FACTOR}",
        kind="linear",
        count=layers * len(parts),
        ops=2.0 * tokens * low_rank.rank * outputs * layers,
        weight_bytes=left * layers,
        activation_bytes=tokens * (ranks + 2 * outputs) * wide * layers,
        weights=low_rank.rank * outputs * layers,
        outputs=outputs,
        step_tokens=tokens,
    )


def exchanged_widths(shape: ModelShape, work: OnlineWork, machines: int) -> list[int]:
    """Return the widths of a layer's transforms that need values of several machines.

    Each of ``machines`` has an equal part of the consecutive values of a site.
    """
    return [
        one.width
        for one in transforms_of(shape, work)
        if one.site != "q and k" and one.width // one.span % machines
    ]
