"""The time of one operator at the rates of a setup, and what limits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.kernels.tiles import tiled_share
from roofline.time.overheads import VECTOR_TOKENS, extra_bytes, passes_of, tokens_of_tiles
from roofline.time.rates import Rates
from roofline.workload.operator import Amount, Operator, OperatorRole, role_of

#: Relative difference of the times for operations and bytes below which both limit an operator.
RIDGE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """Times of all layers' operators of one name: the longer of two, and the starts of kernels."""

    operator: Operator
    compute_s: Amount
    memory_s: Amount
    start_s: Amount

    @property
    def time_s(self) -> Amount:
        """Seconds in one step."""
        return np.maximum(self.compute_s, self.memory_s) + self.start_s

    @property
    def bound(self) -> str:
        """Limit of a single prediction: ``compute``, ``memory``, ``ridge`` or ``start``."""
        return str(self.bounds(1)[0])

    def bounds(self, rows: int) -> np.ndarray:
        """Return the limit of each of ``rows`` rows of the amounts."""
        amounts = (self.compute_s, self.memory_s, self.start_s)
        compute, memory, start = (np.broadcast_to(x, rows) for x in amounts)
        longest = np.maximum(compute, memory)
        is_ridge = (longest > 0) & (np.abs(compute - memory) <= RIDGE * longest)
        larger = np.where(compute > memory, "compute", "memory")
        return np.where(start > longest, "start", np.where(is_ridge, "ridge", larger))


def operator_times(
    found: Sequence[Operator], rates: Mapping[OperatorRole, Rates]
) -> list[OperatorTime]:
    """Return the times of the operators of one step.

    Weights and cache that a CPU's last cache holds from the step before need not come from memory;
    the share of them is the same for all operators.
    """
    read = sum(op.essential_bytes for op in found)
    missed = 1.0 - np.minimum(1.0, rates["linear"].cached_bytes / np.maximum(read, 1.0))
    return [operator_time(op, rates[role_of(op)], missed=missed) for op in found]


def operator_time(operator: Operator, rates: Rates, *, missed: Amount = 1.0) -> OperatorTime:
    """Return the time of an operator; ``missed`` is the share of its bytes not in a cache."""
    tokens = _tokens(operator)
    # The number of tokens is not finite for vector operators and where reuse is unknown.
    few = np.where(np.isfinite(tokens), tokens, 0.0)
    passes, expansions = passes_of(operator, few, rates.overheads)
    extra_s = extra_bytes(operator, expansions, rates.overheads) / rates.bytes_per_s
    return OperatorTime(
        operator=operator,
        compute_s=_compute_s(operator, tokens, passes, rates) + extra_s,
        memory_s=_memory_s(operator, passes, rates, missed) + extra_s,
        start_s=rates.start_s * operator.count,
    )


def _compute_s(operator: Operator, tokens: Amount, passes: Amount, rates: Rates) -> Amount:
    """Return the time of GEMM and vector operations, which run in parallel on most machines."""
    few = np.where(np.isfinite(tokens), tokens, 0.0)
    filled = np.clip(tokens / rates.matrix_tokens, rates.least_share, 1.0)
    tiled = _tiled_share(operator, tokens / np.maximum(passes, 1.0), rates)
    at_peak = operator.ops / (rates.ops_per_s * filled)
    products = np.minimum(at_peak / tiled, np.maximum(at_peak, _vectors_s(operator, few, rates)))
    rest = (operator.vector_ops + rates.scaling_ops * operator.ops) / rates.vector_ops_per_s
    rest = rest + rates.dequantize_ops * operator.weights / rates.dequantize_ops_per_s
    return np.where(rates.is_one_unit, products + rest, np.maximum(products, rest))


def _memory_s(operator: Operator, passes: Amount, rates: Rates, missed: Amount) -> Amount:
    """Return the time of all traffic; weights that kernels expand have a separate rate."""
    between = np.where(rates.keeps_activations, 0.0, rates.overheads.activation_factor)
    again = np.maximum(passes - 1.0, 0.0) * operator.weight_bytes
    moved = operator.essential_bytes + again + between * operator.activation_bytes
    # The rate was measured for few tokens; it also bounds many, which never take less time.
    expanded_s = (operator.weight_bytes + again) / rates.vector_bytes_per_s
    return np.maximum(missed * moved / rates.bytes_per_s, expanded_s)


def _vectors_s(operator: Operator, tokens: Amount, rates: Rates) -> Amount:
    """Return the time of matrix-vector kernels, which read the weights for each few tokens.

    A tiled kernel is used only where it beats them.
    """
    slowest = np.minimum(rates.bytes_per_s, rates.vector_bytes_per_s)
    return np.ceil(tokens / VECTOR_TOKENS) * operator.weight_bytes / slowest


def _tiled_share(operator: Operator, tokens: Amount, rates: Rates) -> Amount:
    """Return the share of the peak that tiles leave to one pass of more than a few tokens."""
    if operator.kind != "linear":
        return 1.0
    units = np.where(tokens > VECTOR_TOKENS, rates.multiprocessors, np.inf)
    share = tiled_share(tokens, operator.outputs, units)
    if not operator.is_expert:
        return share
    rate = np.where(tokens > VECTOR_TOKENS, rates.overheads.expert_rate, 1.0)
    return share * rate * tokens / tokens_of_tiles(tokens, rates.overheads)


def _tokens(operator: Operator) -> Amount:
    """Return the tokens that share a weight, or that share keys and values."""
    return np.where(
        np.asarray(operator.weights) > 0,
        operator.ops / (2.0 * np.maximum(operator.weights, 1.0)),
        operator.queries,
    )
