"""How fast the operators of a setup run, and the time of one operator at such rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hw.machine import GIGA
from roofline.kernels.efficiency import Factors, expected_factors, fitted
from roofline.kernels.loops import LOOP_SHARE
from roofline.kernels.paths import Path, attention_path, weight_path
from roofline.kernels.tiles import tiled_share
from roofline.workload.operators import Amount, Operator
from roofline.workload.setup import Setup

Estimate = Literal["bound", "expected"]
#: Operators whose products run at one rate.
Role = Literal["linear", "head", "attention", "vector"]
ROLES: tuple[Role, ...] = get_args(Role)
#: Tokens of one pass of llama.cpp (its ``n_ubatch``), and those from which it expands weights in
#: memory first (its ``MMQ_DP4A_MAX_BATCH_SIZE``).
PASS_TOKENS = 512
EXPANDED_TOKENS = 64
#: Tokens of the tiles of its own products of experts, of which each gets some of a pass: more would
#: be computed for nothing (``mul_mat_q_case`` takes the widest, 128, for up to 512 of one expert).
EXPERT_TILE_TOKENS = 128
#: Tokens for which kernels multiply a matrix by each vector of them; llama.cpp's
#: ``MMVQ_MAX_BATCH_SIZE``.
VECTOR_TOKENS = 8
#: Size of the heads on which attention of processors was fitted, and the share of its instructions
#: that doesn't grow with them: of about 95 in AVX2 for a score and its value (llama.cpp's
#: ``vec.cpp``), 10 sum a vector's parts, 25 call and loop, and 10 are the softmax's.
FITTED_HEAD_DIM, DOT_CONSTANT = 64, 0.5
#: Kernels of llama.cpp's GPU back ends for each of the six operators between a layer's products:
#: 24 in all for two norms of two, two rotations, two copies to the cache, a softmax and its copy,
#: a gate of two, two sums, seven tokens quantized, and three products that are one operator here;
#: and how long a small one takes (two vectors added: 1.1 to 1.3 us, pytorch issue 161104).
SMALL_KERNELS, SMALL_KERNEL_S = 4, 1.2e-6
#: Of llama.cpp's GPU back ends, whose values between operators are float32, where the amounts here
#: have halves: factor on their bytes, and those of halves for the library's products and back, for
#: each byte of halves that a product reads and writes (6 for 2).
FLOAT_FACTOR, CONVERTED_FACTOR = 2.0, 3.0
#: Its attention in three kernels: a score is written, scaled and masked by a softmax and read
#: again, 16 bytes in float32; where a library multiplies, it comes as a half and goes as one,
#: 8 bytes more (``ggml_cuda_mul_mat_batched_cublas``, ``soft_max_ext``).
SCORE_BYTES, CONVERTED_SCORE_BYTES = 16.0, 8.0
#: Within this share of one another, operations and bytes limit an operator alike.
RIDGE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one operator gets of a setup's machines; numbers, or arrays that broadcast."""

    ops_per_s: Amount
    #: Tokens that products and attention need for it, and the least share of it with fewer.
    matrix_tokens: Amount
    least_share: Amount
    vector_ops_per_s: Amount
    #: Operations to expand one weight, and their rate.
    dequantize_ops: Amount
    dequantize_ops_per_s: Amount
    bytes_per_s: Amount
    #: Operations of vector units for each one of a product.
    scaling_ops: Amount
    #: Bytes to expand one weight in memory, in each pass over a prompt.
    expanded_bytes: Amount
    start_s: Amount
    #: Whether one unit does products and everything else, one after the other.
    is_one_unit: Amount
    #: Whether activations between operators stay on the chip.
    keeps_activations: Amount
    #: Of weights, at most; inf where nothing but the memory limits it.
    vector_bytes_per_s: Amount = np.inf
    #: Of weights and cache that a processor may still have from the step before.
    cached_bytes: Amount = 0.0
    #: Multiprocessors that share the tiles of a product; inf where losses at the edges are not told
    #: from others.
    multiprocessors: Amount = np.inf
    #: Tokens of one pass through all weights; inf where a step is one pass.
    pass_tokens: Amount = np.inf
    #: Tokens of the tiles of products of experts; 0 where losses at edges are not told from others.
    expert_tile: Amount = 0.0
    #: Factor on the bytes of activations, and those besides to convert them for a prompt's product.
    activation_factor: Amount = 1.0
    converted_factor: Amount = 0.0
    #: That move for each score, one kernel after the other.
    score_bytes: Amount = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """Times of all layers' operators of one name, each as long as the slower of the first two."""

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
        """What limits it, for amounts that are single numbers: the largest, or ``ridge``."""
        return str(self.bounds(1)[0])

    def bounds(self, rows: int) -> np.ndarray:
        """Return the same for each of so many rows."""
        amounts = (self.compute_s, self.memory_s, self.start_s)
        compute, memory, start = (np.broadcast_to(x, rows) for x in amounts)
        longest = np.maximum(compute, memory)
        is_ridge = (longest > 0) & (np.abs(compute - memory) <= RIDGE * longest)
        larger = np.where(compute > memory, "compute", "memory")
        return np.where(start > longest, "start", np.where(is_ridge, "ridge", larger))


def role_of(operator: Operator) -> Role:
    """Return which rates an operator has."""
    if operator.kind == "linear":
        return "head" if operator.name == "lm_head" else "linear"
    return operator.kind


def path_of(setup: Setup, role: Role, estimate: Estimate = "expected") -> Path:
    """Return the path of products; everything else runs with attention."""
    fastest = estimate == "bound"
    if role in ("linear", "head"):
        is_head = role == "head"
        return weight_path(setup.machine, setup.recipe, head=is_head, fastest=fastest)
    return attention_path(setup.machine, setup.recipe, fastest=fastest)


def rates_of(setup: Setup, role: Role, estimate: Estimate) -> Rates:
    """Return the rates of one kind of operator.

    A bound has the peaks of all machines together, of a processor's small cores too, and what its
    last cache can keep; the expectation the shares of them that runs
    reach, and no more bandwidth than the threads can use.
    """
    machine, path = setup.machine, path_of(setup, role, estimate)
    if estimate == "bound":
        cores = machine.cores
        used_share = cores.used_share(path.operand, setup.threads) if cores else 1.0
        together = setup.machines * used_share
        return Rates(
            ops_per_s=path.ops_per_s * together,
            matrix_tokens=1.0,
            least_share=1.0,
            # Other units do the rest at the same time.
            vector_ops_per_s=np.inf,
            dequantize_ops=0.0,
            dequantize_ops_per_s=1.0,
            scaling_ops=0.0,
            bytes_per_s=machine.bytes_per_s * setup.machines,
            expanded_bytes=0.0,
            start_s=0.0,
            is_one_unit=machine.kind == "cpu",
            keeps_activations=True,
            cached_bytes=cores.cache_bytes * setup.machines if cores else 0.0,
        )
    factors = expected_factors(machine, path, threads=setup.threads)
    tokens, least_share = _matrix_tokens(setup, path, factors)
    if role == "attention" and machine.kind == "cpu":
        tokens, least_share = _attention_tokens(setup)
    workers = setup.split if role in ("linear", "head") else setup.rest_split
    readers = setup.kv_split if role == "attention" else workers
    used = workers * setup.thread_share
    together = factors.compute * used
    # Units of their own expand weights beside those for products; a processor has one for both.
    expanding = together if machine.kind == "cpu" else used
    return Rates(
        ops_per_s=path.ops_per_s * together,
        matrix_tokens=tokens,
        least_share=least_share,
        vector_ops_per_s=machine.vector_ops_per_s * together,
        dequantize_ops=path.dequantize_ops,
        dequantize_ops_per_s=path.dequantize_ops_per_s * expanding,
        scaling_ops=path.scaling_ops,
        bytes_per_s=_reachable_bytes_per_s(setup, factors.memory) * readers,
        expanded_bytes=path.expanded_bytes,
        start_s=_between_s(setup) if role == "vector" else factors.start_s,
        is_one_unit=machine.kind == "cpu",
        keeps_activations=False,
        vector_bytes_per_s=np.inf if role == "attention" else factors.vector_bytes_per_s * readers,
        multiprocessors=_tiled_multiprocessors(setup, path) if role != "attention" else np.inf,
        **_in_floats(setup, path, role),
    )


def _tiled_multiprocessors(setup: Setup, path: Path) -> float:
    """Return the multiprocessors that a library's tiles are spread over."""
    number = setup.machine.multiprocessors
    return np.inf if number is None or not path.is_library else number.value * setup.split


def _in_floats(setup: Setup, path: Path, role: Role) -> dict[str, float]:
    """Return what llama.cpp's GPU back ends do besides, in float32 and in kernels of its own."""
    if setup.recipe.kernel != "gguf" or setup.machine.kind != "gpu":
        return {}
    if role == "attention":
        converted = CONVERTED_SCORE_BYTES if setup.machine.vendor != "Apple" else 0.0
        return {"score_bytes": SCORE_BYTES + converted}
    if role == "vector":
        return {"activation_factor": FLOAT_FACTOR}
    is_int8 = path.operand == "int8"
    return {
        "pass_tokens": PASS_TOKENS,
        "expert_tile": EXPERT_TILE_TOKENS if is_int8 else 0.0,
        "converted_factor": CONVERTED_FACTOR if path.is_library else 0.0,
    }


def _between_s(setup: Setup) -> float:
    """Return the time of small kernels that stand for one operator between products.

    Elsewhere these are part of the products' kernels.
    """
    is_split = setup.recipe.kernel == "gguf" and setup.machine.kind == "gpu"
    return SMALL_KERNELS * SMALL_KERNEL_S if is_split else 0.0


def _matrix_tokens(setup: Setup, path: Path, factors: Factors) -> tuple[float, float]:
    """Return the tokens that a processor's rate needs, and the share of it for one."""
    cores = setup.machine.cores
    if path.one_token_ops_per_s is not None:
        one = LOOP_SHARE * path.one_token_ops_per_s
        share = min(1.0, one / (factors.compute * path.ops_per_s))
        return 1.0 / share, share
    if cores is None or path.is_counted:
        return 1.0, 1.0
    return cores.matrix_tokens(path.operand)


def _attention_tokens(setup: Setup) -> tuple[float, float]:
    """Return the tokens of a sequence that make attention a product, and the share of it for one.

    One token reads keys and values by itself, at the share that was fitted on decode; the tokens of
    a prompt share them.
    """
    own = setup.machine.efficiency
    if own is not None and own.compute is not None:
        return 1.0, 1.0
    longer = setup.shape.head_dim / FITTED_HEAD_DIM
    share = fitted().cpu_attention_compute_share / fitted().cpu_native_compute_share
    share = min(1.0, share * longer / (DOT_CONSTANT + (1.0 - DOT_CONSTANT) * longer))
    return 1.0 / share, share


def _reachable_bytes_per_s(setup: Setup, share: float) -> float:
    """Return the bandwidth that a run reaches: each core of a processor reads only so fast."""
    cores = setup.machine.cores
    reachable = share * setup.machine.bytes_per_s
    if cores is None:
        return reachable
    used = cores.count.value * setup.thread_share
    return min(reachable, used * cores.bandwidth_gb_per_s.value * GIGA)


def operator_times(found: Sequence[Operator], rates: Mapping[Role, Rates]) -> list[OperatorTime]:
    """Return the times of the operators of one step.

    Of the weights and the cache that a step reads, the share that the processor's last cache holds
    need not come from memory.
    """
    read = sum(op.essential_bytes for op in found)
    missed = 1.0 - np.minimum(1.0, rates["linear"].cached_bytes / np.maximum(read, 1.0))
    return [operator_time(op, rates[role_of(op)], missed=missed) for op in found]


def operator_time(operator: Operator, rates: Rates, *, missed: Amount = 1.0) -> OperatorTime:
    """Return the time of an operator at some rates; ``missed`` is the share of its bytes read."""
    tokens = _tokens(operator)
    # None where nothing says how many share a weight.
    few = np.where(np.isfinite(tokens), tokens, 0.0)
    passes, expansions = _passes(operator, few, rates)
    filled = np.clip(tokens / rates.matrix_tokens, rates.least_share, 1.0)
    tiled = _tiles(operator, tokens / np.maximum(passes, 1.0), rates)
    at_peak = operator.ops / (rates.ops_per_s * filled)
    products = np.minimum(at_peak / tiled, np.maximum(at_peak, _by_vectors(operator, few, rates)))
    rest = (operator.vector_ops + rates.scaling_ops * operator.ops) / rates.vector_ops_per_s
    rest = rest + rates.dequantize_ops * operator.weights / rates.dequantize_ops_per_s
    between = np.where(rates.keeps_activations, 0.0, rates.activation_factor)
    again = np.maximum(passes - 1.0, 0.0) * operator.weight_bytes
    moved = operator.essential_bytes + again + between * operator.activation_bytes
    # More tokens never take less than few of them, whose weights are expanded by other kernels.
    expanded_s = (operator.weight_bytes + again) / rates.vector_bytes_per_s
    # Weights are expanded before the product starts, and scores go from one kernel to the next.
    extra = rates.expanded_bytes * operator.weights * expansions
    extra = extra + rates.converted_factor * operator.activation_bytes * np.minimum(expansions, 1.0)
    extra = extra + rates.score_bytes * _stored_scores(operator)
    expanding = extra / rates.bytes_per_s
    together = np.where(rates.is_one_unit, products + rest, np.maximum(products, rest))
    return OperatorTime(
        operator=operator,
        compute_s=together + expanding,
        memory_s=np.maximum(missed * moved / rates.bytes_per_s, expanded_s) + expanding,
        start_s=rates.start_s * operator.count,
    )


def _by_vectors(operator: Operator, tokens: Amount, rates: Rates) -> Amount:
    """Return the seconds in which weights are read for each few tokens, by kernels without tiles.

    Nobody takes tiles that lose more.
    """
    slowest = np.minimum(rates.bytes_per_s, rates.vector_bytes_per_s)
    return np.ceil(tokens / VECTOR_TOKENS) * operator.weight_bytes / slowest


def _tiles(operator: Operator, tokens: Amount, rates: Rates) -> Amount:
    """Return the share of the peak that tiles leave to a pass of more than a few tokens."""
    if operator.kind != "linear":
        return 1.0
    units = np.where(tokens > VECTOR_TOKENS, rates.multiprocessors, np.inf)
    share = tiled_share(tokens, operator.outputs, units)
    if not operator.name.startswith("expert "):
        return share
    tile = np.where(tokens > VECTOR_TOKENS, rates.expert_tile, 0.0)
    whole = np.maximum(tile * np.ceil(tokens / np.maximum(tile, 1.0)), tokens)
    return share * tokens / whole


def _stored_scores(operator: Operator) -> Amount:
    """Return the scores that passes over a prompt store, with those that a pass itself hides."""
    queries = operator.queries
    is_prompt = np.isfinite(queries) & (queries > 1)
    hidden = np.where(is_prompt, np.minimum(queries, PASS_TOKENS) / queries, 0.0)
    return operator.scores * (1.0 + hidden)


def _passes(operator: Operator, tokens: Amount, rates: Rates) -> tuple[Amount, Amount]:
    """Return how often a prompt is passed through a weight, and how many expansions that costs.

    Few tokens are no prompt. llama.cpp expands weights from the tokens on for which its own kernels
    would take as long, which grow with the tokens until then.
    """
    if operator.kind != "linear" or np.all(np.isinf(rates.pass_tokens)):
        return 0.0, 0.0
    is_prompt = tokens >= EXPANDED_TOKENS
    passes = np.where(is_prompt, np.ceil(operator.step_tokens / rates.pass_tokens), 0.0)
    own = np.clip((tokens - VECTOR_TOKENS) / (EXPANDED_TOKENS - VECTOR_TOKENS), 0.0, 1.0)
    return passes, np.maximum(passes, own)


def _tokens(operator: Operator) -> Amount:
    """Return the tokens that share a weight, or keys and values; else enough of them."""
    return np.where(
        np.asarray(operator.weights) > 0,
        operator.ops / (2.0 * np.maximum(operator.weights, 1.0)),
        operator.queries,
    )
