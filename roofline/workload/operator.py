"""One operator of a step: its operations, its bytes, and the rates that it runs at."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

#: A number, or a NumPy array of them.
Amount = Any
Kind = Literal["linear", "attention", "vector"]
#: Classes of operators that run at one rate each.
OperatorRole = Literal["linear", "head", "attention", "vector"]
ROLES: tuple[OperatorRole, ...] = get_args(OperatorRole)
#: Prefix in the names of operators of a mixture's chosen experts.
EXPERT = "expert "


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """All layers' operators of one name in one step; amounts are sums over ``count``."""

    name: str
    kind: Kind
    #: Number of times that the operator runs in a step.
    count: int
    #: Operations of matrix products; a multiply-add counts two.
    ops: Amount = 0.0
    #: Operations of vector units: norms, softmax, activation functions, additions.
    vector_ops: Amount = 0.0
    #: Bytes of weights read, scales and other side data included.
    weight_bytes: Amount = 0.0
    #: Bytes of keys and values read.
    kv_bytes: Amount = 0.0
    #: Bytes of activations read and written, and of keys and values written.
    activation_bytes: Amount = 0.0
    #: Number of weights of the GEMM, each counted once: the work of expanding them.
    weights: Amount = 0.0
    #: Columns of the GEMM's result, summed over the experts that a layer reads.
    outputs: Amount = np.inf
    #: New tokens of the step; each expert gets some of them.
    step_tokens: Amount = 0.0
    #: New tokens of one sequence, which share the keys and values that attention reads.
    queries: Amount = np.inf
    #: Attention scores of all heads that a fused kernel keeps on the chip.
    scores: Amount = 0.0

    @property
    def essential_bytes(self) -> Amount:
        """Bytes that no kernel can keep on the chip: weights, keys and values."""
        return self.weight_bytes + self.kv_bytes

    @property
    def traffic_bytes(self) -> Amount:
        """All bytes, activations between operators included."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes

    @property
    def is_expert(self) -> bool:
        """Whether the operator belongs to the chosen experts of a mixture."""
        return self.name.startswith(EXPERT)


def role_of(operator: Operator) -> OperatorRole:
    """Return the class of operators whose rates an operator has."""
    if operator.kind == "linear":
        return "head" if operator.name == "lm_head" else "linear"
    return operator.kind
