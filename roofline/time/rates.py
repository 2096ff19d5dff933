"""Rates of the operators of a setup: peaks and bandwidth times the shares that runs reach."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hw.machine import GIGA
from roofline.kernels.efficiency import Factors, expected_factors, fitted
from roofline.kernels.loops import LOOP_SHARE
from roofline.kernels.paths import ProductPath, attention_path, weight_path
from roofline.time.overheads import NO_OVERHEADS, Overheads, overheads_of
from roofline.workload.operator import Amount, OperatorRole
from roofline.workload.setup import Setup

#: ``bound``: a time that no run beats. ``expected``: the time that a run is expected to take.
Estimate = Literal["bound", "expected"]
#: Head size on which the attention of CPUs was fitted, and the share of its instructions that
#: doesn't grow with the head: of about 95 in AVX2 for a score and its value (llama.cpp's
#: ``vec.cpp``), 10 sum a vector's parts, 25 call and loop, and 10 are the softmax's.
FITTED_HEAD_DIM, DOT_CONSTANT = 64, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Rates of one class of operators on a setup's machines; numbers, or arrays that broadcast."""

    #: Peak rate of matrix products, in operations a second.
    ops_per_s: Amount
    #: Tokens at which that rate is reached, and the fraction of it at one token.
    matrix_tokens: Amount
    least_share: Amount
    #: Rate of vector operations, in operations a second.
    vector_ops_per_s: Amount
    #: Vector operations to expand one weight, and their rate in operations a second.
    dequantize_ops: Amount
    dequantize_ops_per_s: Amount
    #: Memory bandwidth.
    bytes_per_s: Amount
    #: Vector operations to scale sums, for each operation of a matrix product.
    scaling_ops: Amount
    #: Seconds to start a kernel.
    start_s: Amount
    #: Whether matrix products and vector operations run on one unit, one after the other.
    is_one_unit: Amount
    #: Whether activations between operators stay on the chip.
    keeps_activations: Amount
    #: Cap on weight bytes/s in matrix-vector kernels; inf if only DRAM limits it.
    vector_bytes_per_s: Amount = np.inf
    #: Bytes of weights and KV cache that a CPU's last cache may keep from the step before.
    cached_bytes: Amount = 0.0
    #: Multiprocessors that a product's tiles are spread over; inf where the share of the peak
    #: includes losses at the edges of tiles.
    multiprocessors: Amount = np.inf
    #: Extra work of an engine's own GPU kernels.
    overheads: Overheads = NO_OVERHEADS


def path_of(setup: Setup, role: OperatorRole, estimate: Estimate = "expected") -> ProductPath:
    """Return the product path of a class; vector operators have that of attention."""
    fastest = estimate == "bound"
    if role in ("linear", "head"):
        is_head = role == "head"
        return weight_path(
            setup.machine, setup.format, setup.runtime, head=is_head, fastest=fastest
        )
    return attention_path(setup.machine, setup.format, fastest=fastest)


def rates_of(setup: Setup, role: OperatorRole, estimate: Estimate) -> Rates:
    """Return the rates of one class of operators.

    A bound has the peaks of all machines together, of a CPU's efficiency cores too, and what its
    last cache can keep; an expectation has the shares of them that runs reach, and no more
    bandwidth than the threads can use.
    """
    path = path_of(setup, role, estimate)
    return _bound(setup, path) if estimate == "bound" else _expected(setup, path, role)


def _bound(setup: Setup, path: ProductPath) -> Rates:
    machine, cores = setup.machine, setup.machine.cores
    used_share = cores.used_share(path.operand, setup.threads) if cores else 1.0
    together = setup.machines * used_share
    return Rates(
        ops_per_s=path.ops_per_s * together,
        matrix_tokens=1.0,
        least_share=1.0,
        # Other units may do the vector operations at the same time.
        vector_ops_per_s=np.inf,
        dequantize_ops=0.0,
        dequantize_ops_per_s=1.0,
        scaling_ops=0.0,
        bytes_per_s=machine.bytes_per_s * setup.machines,
        start_s=0.0,
        is_one_unit=machine.kind == "cpu",
        keeps_activations=True,
        cached_bytes=cores.cache_bytes * setup.machines if cores else 0.0,
    )


def _expected(setup: Setup, path: ProductPath, role: OperatorRole) -> Rates:
    machine = setup.machine
    factors = expected_factors(machine, path, threads=setup.threads)
    tokens, least_share = _matrix_tokens(setup, path, factors, role)
    workers = setup.split if role in ("linear", "head") else setup.rest_split
    readers = setup.kv_split if role == "attention" else workers
    used = workers * setup.thread_share
    together = factors.compute * used
    # A GPU expands weights on units of their own; a CPU has one unit for both.
    expanding = together if machine.kind == "cpu" else used
    rates = Rates(
        ops_per_s=path.ops_per_s * together,
        matrix_tokens=tokens,
        least_share=least_share,
        vector_ops_per_s=machine.vector_ops_per_s * together,
        dequantize_ops=path.dequantize_ops,
        dequantize_ops_per_s=path.dequantize_ops_per_s * expanding,
        scaling_ops=path.scaling_ops,
        bytes_per_s=_reachable_bytes_per_s(setup, factors.memory) * readers,
        start_s=_start_s(setup, factors, role),
        is_one_unit=machine.kind == "cpu",
        keeps_activations=False,
        overheads=overheads_of(setup, path, role),
    )
    if role == "attention":
        return rates
    return replace(
        rates,
        vector_bytes_per_s=factors.vector_bytes_per_s * readers,
        multiprocessors=_tiled_multiprocessors(setup, path),
    )


def _start_s(setup: Setup, factors: Factors, role: OperatorRole) -> float:
    """Return the seconds to start a kernel; fused vector operators have none of their own."""
    if role != "vector":
        return factors.start_s
    return setup.backend.operator_s if setup.backend else 0.0


def _tiled_multiprocessors(setup: Setup, path: ProductPath) -> float:
    """Return the multiprocessors over which a library spreads its tiles; inf for other kernels."""
    number = setup.machine.multiprocessors
    return np.inf if number is None or not path.is_library else number.value * setup.split


def _matrix_tokens(
    setup: Setup, path: ProductPath, factors: Factors, role: OperatorRole
) -> tuple[float, float]:
    """Return the tokens at which a CPU reaches its rate, and the fraction of it at one token."""
    cores = setup.machine.cores
    if role == "attention" and setup.machine.kind == "cpu":
        return _attention_tokens(setup)
    if path.one_token_ops_per_s is not None:
        one = LOOP_SHARE * path.one_token_ops_per_s
        share = min(1.0, one / (factors.compute * path.ops_per_s))
        return 1.0 / share, share
    if cores is None or path.is_counted:
        return 1.0, 1.0
    return cores.matrix_tokens(path.operand)


def _attention_tokens(setup: Setup) -> tuple[float, float]:
    """Return the tokens of a sequence at which attention reaches its rate, and the fraction at one.

    A single token reads keys and values at the share that was fitted on decode; the tokens of a
    prompt share what they read.
    """
    own = setup.machine.efficiency
    if own is not None and own.compute is not None:
        return 1.0, 1.0
    longer = setup.shape.head_dim / FITTED_HEAD_DIM
    share = fitted().cpu_attention_compute_share / fitted().cpu_native_compute_share
    share = min(1.0, share * longer / (DOT_CONSTANT + (1.0 - DOT_CONSTANT) * longer))
    return 1.0 / share, share


def _reachable_bytes_per_s(setup: Setup, share: float) -> float:
    """Return the bandwidth that a run reaches, at most that of its cores together."""
    cores = setup.machine.cores
    reachable = share * setup.machine.bytes_per_s
    if cores is None:
        return reachable
    used = cores.count.value * setup.thread_share
    return min(reachable, used * cores.bandwidth_gb_per_s.value * GIGA)
