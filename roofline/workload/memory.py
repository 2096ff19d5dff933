"""Memory of a model: weights, KV cache and activations, and the batch that fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.operator import Amount, Operator
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences

#: Share of the memory that a server uses for weights, KV cache and activations.
USABLE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory use of all machines together."""

    weight_bytes: float
    kv_bytes: float
    #: Activations of the operator of a step that has most of them.
    activation_bytes: float
    capacity_bytes: float

    @property
    def total_bytes(self) -> float:
        """Weights, KV cache and activations."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes

    def __add__(self, other: "MemoryUse") -> "MemoryUse":
        """Return the memory use of two models on one machine, which run in turns."""
        return MemoryUse(
            weight_bytes=self.weight_bytes + other.weight_bytes,
            kv_bytes=self.kv_bytes + other.kv_bytes,
            activation_bytes=max(self.activation_bytes, other.activation_bytes),
            capacity_bytes=self.capacity_bytes,
        )

    @property
    def missing_bytes(self) -> float:
        """Bytes that the memory lacks; 0 if everything fits."""
        return max(0.0, self.total_bytes - self.capacity_bytes)


@cache
def weight_bytes(shape: ModelShape, fmt: ServingFormat) -> float:
    """Return the bytes of all weights, unused experts and the embedding included.

    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> weight_bytes(load_model("llama-2-7b"), parse_format("fp16"))
    13476831232.0
    """
    one = [Sequences(batch=1, new=1)]
    total = expert_bytes(shape, fmt)
    for op in operators(shape, fmt, one):
        if not op.is_expert:
            total += float(op.weight_bytes)
    if not shape.tied:
        total += fmt.tensor_bytes("embedding", shape.hidden, shape.vocabulary, shape)
    matrices = shape.linear_params + shape.head_params * (1 if shape.tied else 2)
    return total + 2.0 * (shape.params - matrices)


def expert_bytes(shape: ModelShape, fmt: ServingFormat) -> float:
    """Return the bytes of all experts that a router chooses from; 0 in a dense model."""
    if shape.experts is None:
        return 0.0
    found = operators(shape, fmt, [Sequences(batch=1, new=1)])
    read = sum(float(op.weight_bytes) for op in found if op.is_expert)
    return read * shape.experts.count / shape.experts.per_token


def kv_bytes_per_sequence(shape: ModelShape, fmt: ServingFormat, length: int) -> float:
    """Return the bytes of the KV cache of ``length`` tokens; a window bounds those of its layer.

    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> kv_bytes_per_sequence(load_model("llama-3-8b"), parse_format("fp16"), 1)
    131072.0
    """
    whole = shape.global_layers
    kept = whole * length + (shape.layers - whole) * min(length, shape.window or length)
    return fmt.kv_bytes(shape) * kept


def memory_use(setup: Setup, *, batch: int, length: int, new: int) -> MemoryUse:
    """Return the memory use of ``batch`` sequences of ``length`` tokens, ``new`` in one step."""
    capacity = setup.machine.capacity_bytes * setup.machines
    use = stored(
        setup.shape, setup.format, batch=batch, length=length, new=new, capacity_bytes=capacity
    )
    if setup.parallel == "tensor":
        # Machines that share a head have copies of its cache.
        return replace(use, kv_bytes=use.kv_bytes * setup.machines / setup.kv_split)
    if setup.parallel in ("pipeline", "rows"):
        return use
    # Every machine has a copy of all weights except those of experts.
    rest = use.weight_bytes - expert_bytes(setup.shape, setup.format)
    return replace(use, weight_bytes=use.weight_bytes + (setup.machines - 1) * rest)


def stored(
    shape: ModelShape,
    fmt: ServingFormat,
    *,
    batch: int,
    length: int,
    new: int,
    capacity_bytes: float = math.inf,
) -> MemoryUse:
    """Return the memory use of one machine of ``capacity_bytes``, however small that is."""
    step = [Sequences(batch=batch, new=new)]
    largest = float(largest_activations(operators(shape, fmt, step)))
    return MemoryUse(
        weight_bytes=weight_bytes(shape, fmt),
        kv_bytes=batch * kv_bytes_per_sequence(shape, fmt, length),
        activation_bytes=largest,
        capacity_bytes=capacity_bytes,
    )


def largest_activations(found: Sequence[Operator]) -> Amount:
    """Return the activation bytes of one layer's operator that has most of them."""
    largest: Amount = 0.0
    for op in found:
        largest = np.maximum(largest, op.activation_bytes / op.count)
    return largest


def largest_batch(
    setup: Setup, *, length: int, new: int = 1, usable: float = USABLE, draft: Setup | None = None
) -> int:
    """Return how many sequences of ``length`` tokens fit together with the weights, or 0.

    Activations of a step with ``new`` tokens of each sequence take memory too, and so do weights
    and KV cache of a ``draft`` model.
    """
    use = memory_use(setup, batch=1, length=length, new=new)
    if draft is not None:
        use = use + memory_use(draft, batch=1, length=length, new=new)
    free = use.capacity_bytes * usable - use.weight_bytes
    return max(0, math.floor(free / (use.kv_bytes + use.activation_bytes)))


def equal_context(setup: Setup) -> float:
    """Return the tokens of one sequence whose KV cache takes as many bytes as the weights.

    A window bounds the cache of its layers; inf where the cache never gets that large.
    """
    shape = setup.shape
    wanted = weight_bytes(shape, setup.format) / setup.format.kv_bytes(shape)
    window = shape.window or math.inf
    if wanted <= shape.layers * window:
        return wanted / shape.layers
    if not shape.global_layers:
        return math.inf
    return (wanted - (shape.layers - shape.global_layers) * window) / shape.global_layers
