"""One step of a model: the tokens it computes, how kernels run, and what operators derive from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.operator import Amount

#: How tokens choose experts: each token at random; no two tokens the same experts and all of them
#: on one machine (``worst``); or all tokens the same experts. Which activations of a token are zero
#: follows the same three cases.
Routing = Literal["uniform", "worst", "same"]
#: Bytes of an activation between operators, by operand type.
ACTIVATION_BYTES = {"fp32": 4.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """``batch`` sequences, each with ``new`` tokens after ``context`` tokens in the KV cache."""

    batch: Amount
    new: Amount
    context: Amount = 0

    @property
    def tokens(self) -> Amount:
        """New tokens of all sequences."""
        return self.batch * self.new

    def pairs(self, window: int | None = None) -> Amount:
        """Return pairs of a new token and a token that it attends to, itself included.

        >>> Sequences(batch=2, new=3, context=10).pairs(), float(Sequences(batch=1, new=3).pairs(2))
        (72.0, 5.0)
        """
        if window is None:
            return 1.0 * self.batch * (self.new * self.context + self.new * (self.new + 1) / 2)
        growing = np.clip(window - np.asarray(self.context), 0, self.new)
        seen = growing * self.context + growing * (growing + 1) / 2
        return 1.0 * self.batch * (seen + (self.new - growing) * window)

    def all_pairs(self) -> Amount:
        """Return pairs of a new token and any token of its sequence, masked ones included."""
        return 1.0 * self.batch * self.new * (self.context + self.new)

    def read_tokens(self, window: int | None = None) -> Amount:
        """Return the tokens of all sequences whose keys and values are read at least once."""
        length = self.context + self.new
        if window is None:
            return 1.0 * self.batch * length
        return 1.0 * self.batch * np.minimum(length, window + np.asarray(self.new) - 1)


#: Sequences of one step; prefill and decode may share it.
Step = Sequence[Sequences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Variants of how operators are run; the defaults are those of good kernels."""

    #: Whether one kernel computes scores, softmax and values, and keeps scores on the chip.
    fused_attention: bool = True
    #: Whether dot products that the causal mask hides are skipped.
    causal: bool = True
    #: Whether keys and values that several query heads share are read once.
    shares_kv: bool = True
    #: Whether Q, K and V are one GEMM, and gate and up another; else each reads its inputs.
    fused_products: bool = True
    #: Whether the head computes all positions instead of the last.
    all_logits: bool = False
    routing: Routing = "uniform"
    #: Machines that share the experts; a step has the sequences of one of them.
    expert_machines: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Everything that the operators of one step derive from."""

    shape: ModelShape
    format: ServingFormat
    step: Step
    options: Options
    #: Bytes of on-chip memory for the rows of a fused attention; None if any prompt fits.
    on_chip_bytes: Amount | None
    #: New tokens of all sequences, and the number of sequences.
    tokens: Amount
    sequences: Amount
    #: Bytes of an activation that a matrix product reads.
    input_bytes: float
    #: Bytes of an activation between matrix products, FP16 or wider.
    value_bytes: float


def context_of(
    shape: ModelShape,
    fmt: ServingFormat,
    step: Step,
    options: Options,
    on_chip_bytes: Amount | None,
) -> StepContext:
    """Return a step with the amounts that all of its operators need."""
    input_bytes = ACTIVATION_BYTES[fmt.activations]
    return StepContext(
        shape=shape,
        format=fmt,
        step=step,
        options=options,
        on_chip_bytes=on_chip_bytes,
        tokens=sum(part.tokens for part in step),
        sequences=sum(part.batch for part in step),
        input_bytes=input_bytes,
        value_bytes=max(input_bytes, ACTIVATION_BYTES["fp16"]),
    )
