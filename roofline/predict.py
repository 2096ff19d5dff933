"""Time of one step of a model on a machine: what bounds it, and what is expected.

An operator takes as long as the slower of its operations and its bytes::

    time = max(ops / (compute share x peak), bytes / (memory share x bandwidth)) + start

``bound`` has shares of 1, no start and only the bytes that no chip can keep; no run can beat it.
``expected`` has the fitted shares of :mod:`roofline.efficiency` and all bytes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hw.machine import GIGA, Machine
from roofline.efficiency import BOUND, Factors, expected_factors, fitted
from roofline.links import all_reduce_s, send_s
from roofline.model_shape import ModelShape
from roofline.paths import Path, attention_path, weight_path
from roofline.recipe import Recipe
from roofline.workload import Amount, Operator, Options, Step, operators

Estimate = Literal["bound", "expected"]
#: How several machines share a model: each has a part of every layer, or some of the layers.
Parallel = Literal["tensor", "pipeline"]
DEFAULT_OPTIONS = Options()
#: Within this share of one another, operations and bytes limit an operator alike.
RIDGE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One model in one recipe on one or more machines of one kind."""

    shape: ModelShape
    recipe: Recipe
    machine: Machine
    machines: int = 1
    parallel: Parallel = "tensor"
    #: Of a processor; all cores if none.
    threads: int | None = None
    options: Options = DEFAULT_OPTIONS

    def __post_init__(self) -> None:
        if self.machines < 1:
            raise ValueError(f"{self.machines} machines; at least 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"{self.threads} threads; at least 1")

    @property
    def thread_share(self) -> float:
        """Share of a processor's cores that compute."""
        if self.threads is None or self.machine.cores is None:
            return 1.0
        return min(1.0, self.threads / self.machine.cores.count.value)

    @property
    def bytes_per_s(self) -> float:
        """Bandwidth that the threads can use: each core reads only so fast."""
        cores = self.machine.cores
        if cores is None:
            return self.machine.bytes_per_s
        used = cores.count.value * self.thread_share
        return min(self.machine.bytes_per_s, used * cores.bandwidth_gb_per_s.value * GIGA)

    @property
    def split(self) -> int:
        """Machines that work on one operator together."""
        return self.machines if self.parallel == "tensor" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """Times of all layers' operators of one name, each as long as the slower of the first two."""

    operator: Operator
    path: Path
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
        compute, memory, start = (float(x) for x in (self.compute_s, self.memory_s, self.start_s))
        if start > max(compute, memory):
            return "start"
        if max(compute, memory) and abs(compute - memory) <= RIDGE * max(compute, memory):
            return "ridge"
        return "compute" if compute > memory else "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Times of one step."""

    operators: tuple[OperatorTime, ...]
    #: Sending activations between machines.
    link_s: Amount = 0.0

    @property
    def time_s(self) -> Amount:
        """Seconds of the whole step."""
        return sum(op.time_s for op in self.operators) + self.link_s

    @property
    def bound(self) -> str:
        """What limits most of the time."""
        times: dict[str, float] = {}
        for op in self.operators:
            times[op.bound] = times.get(op.bound, 0.0) + float(op.time_s)
        return max(times, key=lambda name: times[name])


def predict_step(setup: Setup, step: Step, estimate: Estimate = "bound") -> StepTime:
    """Return the times of the operators of one step.

    Examples
    --------
    A token of Llama-2-7B reads 14.29 GB of weights and cache at 2039 GB/s:

    >>> from hw.machine import load_machine
    >>> from roofline.model_shape import load_model
    >>> from roofline.recipe import parse_recipe
    >>> from roofline.workload import Sequences
    >>> machine = load_machine("a100-sxm-80gb")
    >>> setup = Setup(shape=load_model("llama-2-7b"), recipe=parse_recipe("fp16"), machine=machine)
    >>> step = predict_step(setup, [Sequences(batch=1, new=1, context=2047)])
    >>> round(1e3 * float(step.time_s), 3), step.bound
    (7.007, 'memory')
    """
    on_chip = setup.machine.on_chip_kb
    found = operators(
        setup.shape, setup.recipe, step, options=setup.options,
        on_chip_bytes=on_chip.value * 1e3 if on_chip and estimate == "expected" else None,
    )  # fmt: skip
    times = tuple(_operator_time(op, setup, estimate) for op in found)
    tokens = sum(part.tokens for part in step)
    return StepTime(operators=times, link_s=_link_s(setup, tokens))


def _operator_time(operator: Operator, setup: Setup, estimate: Estimate) -> OperatorTime:
    is_bound = estimate == "bound"
    path = operator_path(operator, setup, fastest=is_bound)
    factors = BOUND if is_bound else _factors(operator, setup, path)
    cores = setup.split * setup.thread_share
    compute = operator.ops / (factors.compute * path.ops_per_s)
    rest = operator.vector_ops / setup.machine.vector_ops_per_s
    if not is_bound:
        rest = rest + path.dequantize_ops * operator.weights / path.dequantize_ops_per_s
    if setup.machine.kind == "cpu":
        # One unit does both.
        compute = compute + rest / factors.compute
    else:
        compute = np.maximum(compute, rest / factors.compute)
    bytes_moved = operator.essential_bytes if is_bound else operator.traffic_bytes
    return OperatorTime(
        operator=operator,
        path=path,
        compute_s=compute / cores,
        memory_s=bytes_moved / (factors.memory * setup.bytes_per_s * setup.split),
        start_s=factors.start_s * operator.count,
    )


def operator_path(operator: Operator, setup: Setup, *, fastest: bool = False) -> Path:
    """Return the path that an operator of a setup takes."""
    if operator.kind == "linear":
        is_head = operator.name == "lm_head"
        return weight_path(setup.machine, setup.recipe, head=is_head, fastest=fastest)
    return attention_path(setup.machine, setup.recipe, fastest=fastest)


def _factors(operator: Operator, setup: Setup, path: Path) -> Factors:
    is_attention = operator.kind == "attention"
    factors = expected_factors(
        setup.machine, path, is_attention=is_attention, threads=setup.threads
    )
    # Operations between products are part of their kernels.
    return replace(factors, start_s=0.0) if operator.kind == "vector" else factors


def _link_s(setup: Setup, tokens: Amount) -> Amount:
    """Two all-reduces a layer between machines that share it, or one message for each stage."""
    if setup.machines == 1:
        return 0.0
    width = setup.shape.hidden * 2.0
    if setup.parallel == "tensor":
        count = 2 * setup.shape.layers
        return count * all_reduce_s(setup.machine, setup.machines, tokens * width)
    return (setup.machines - 1) * send_s(setup.machine, tokens * width)


def range_s(setup: Setup, time_s: Amount) -> tuple[Amount, Amount]:
    """Return the shortest and longest time to expect: the scatter of the fit around it."""
    scatter = fitted().cpu_scatter if setup.machine.cores else fitted().gpu_scatter
    return time_s / (1 + scatter), time_s * (1 + scatter)
