"""Time of one step of a model on a machine: a bound, and an expectation.

The time of an operator is the longer of the times of its operations and of its bytes::

    time = max(ops / (compute share x peak), bytes / (memory share x bandwidth)) + start

``bound`` takes shares of 1, no start, only the bytes that cannot stay on the chip, and the fewest
experts; no run is faster.
``expected`` has the fitted shares of :mod:`roofline.kernels.efficiency` and all bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofline.kernels.efficiency import fitted
from roofline.time.links import all_reduce_s, all_to_all_s, rows_s, send_s
from roofline.time.operator_time import OperatorTime, operator_times
from roofline.time.rates import Estimate, rates_of
from roofline.workload.online import exchanged_widths
from roofline.workload.operator import ROLES, Amount, Operator
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Options, Step

#: GEMMs that an engine with rows of weights on several machines runs for one operator here.
SPLIT_PRODUCTS = {"qkv": 3, "gate and up": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Times of the operators and of the links of one step."""

    operators: tuple[OperatorTime, ...]
    #: Seconds to send activations between machines.
    link_s: Amount = 0.0

    @property
    def time_s(self) -> Amount:
        """Seconds of the whole step."""
        return sum(op.time_s for op in self.operators) + self.link_s

    @property
    def bound(self) -> str:
        """The limit of the operators that take most of the time."""
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
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> from roofline.workload.step import Sequences
    >>> machine = load_machine("a100-sxm-80gb")
    >>> setup = Setup(shape=load_model("llama-2-7b"), format=parse_format("fp16"), machine=machine)
    >>> step = predict_step(setup, [Sequences(batch=1, new=1, context=2047)])
    >>> round(1e3 * float(step.time_s), 3), step.bound
    (7.007, 'memory')
    """
    on_chip = setup.machine.on_chip_kb
    tokens = sum(part.tokens for part in step)
    options = options_of(estimate, setup.options)
    if setup.parallel == "expert" and estimate == "expected":
        step = [replace(part, batch=part.batch / setup.machines) for part in step]
        options = replace(options, expert_machines=setup.machines)
    found = operators(
        setup.shape,
        setup.format,
        step,
        options=options,
        on_chip_bytes=on_chip.value * 1e3 if on_chip and estimate == "expected" else None,
    )
    rates = {role: rates_of(setup, role, estimate) for role in ROLES}
    return StepTime(
        operators=tuple(operator_times(found, rates)),
        link_s=0.0 if estimate == "bound" else link_s(setup, tokens, found),
    )


def options_of(estimate: Estimate, options: Options) -> Options:
    """Return the options of an estimate; a bound lets all tokens choose the same experts."""
    return replace(options, routing="same") if estimate == "bound" else options


def link_s(setup: Setup, tokens: Amount, found: Sequence[Operator] = ()) -> Amount:
    """Return the seconds of messages: two all-reduces a layer, or one message for each stage.

    With experts on several machines, two all-to-alls a layer send tokens to experts and results
    back; with rows of weights, every product sends inputs and results. A Hadamard transform of
    values on several machines needs two all-to-alls a layer: whole rows of some tokens to each
    machine, and the parts of all rows back.
    """
    if setup.machines == 1:
        return 0.0
    width = setup.shape.hidden * 2.0
    if setup.parallel == "tensor":
        count = 2 * setup.shape.layers
        sums = count * all_reduce_s(setup.machine, setup.machines, tokens * width)
        return sums + _exchange_s(setup, tokens)
    if setup.parallel == "rows":
        return _rows_link_s(setup, tokens, found)
    if setup.parallel == "expert":
        assert setup.shape.experts is not None
        message = tokens / setup.machines * setup.shape.experts.per_token * width
        count = 2 * setup.shape.expert_layers
        return count * all_to_all_s(setup.machine, setup.machines, message)
    return (setup.machines - 1) * send_s(setup.machine, tokens * width)


def _exchange_s(setup: Setup, tokens: Amount) -> Amount:
    """Return the seconds of the all-to-alls around Hadamard transforms that span machines."""
    widths = exchanged_widths(setup.shape, setup.format.online, setup.machines)
    messages = [tokens / setup.machines * 2.0 * width for width in widths]
    count = 2 * setup.shape.layers
    return sum(count * all_to_all_s(setup.machine, setup.machines, one) for one in messages)


def _rows_link_s(setup: Setup, tokens: Amount, found: Sequence[Operator]) -> Amount:
    """Return the seconds to send every GEMM's inputs to other machines, and results back."""
    backend = setup.runtime.gpu
    assert backend is not None
    linear = [op for op in found if op.kind == "linear"]
    products = sum(op.count * SPLIT_PRODUCTS.get(op.name, 1) for op in linear)
    moved = backend.activation_factor * sum(op.activation_bytes for op in linear)
    passes = np.ceil(np.asarray(tokens) / backend.ubatch_tokens)
    return rows_s(setup.machine, setup.machines, products * passes, moved)


def range_s(setup: Setup, time_s: Amount) -> tuple[Amount, Amount]:
    """Return the shortest and longest time to expect, by the scatter of the fit."""
    scatter = fitted().cpu_scatter if setup.machine.cores else fitted().gpu_scatter
    return time_s / (1 + scatter), time_s * (1 + scatter)
