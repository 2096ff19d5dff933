"""One model on one machine in one format, predicted: what tables, figures and the page show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from hw.accelerator import Accelerator
from roofline.accelerator.gemm import RESULT_BITS, Phase, array_shape
from roofline.accelerator.model import head_bits, weight_bits
from roofline.accelerator.serving import (
    FP16_CACHE,
    FP16_CACHE_BITS,
    AcceleratorStep,
    accelerator_prefill,
    accelerator_step,
    accelerator_tpot_s,
)
from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.time.links import DEFAULT_GB_PER_S
from roofline.time.predict import predict_step, range_s
from roofline.time.rates import path_of
from roofline.time.serving import Prediction, Request, Speculation, predict, speculative_tpot_s
from roofline.workload.memory import MemoryUse, equal_context, largest_batch, memory_use, stored
from roofline.workload.operator import role_of
from roofline.workload.setup import Setup
from roofline.workload.step import ACTIVATION_BYTES, Sequences
from sim.deployment.roofline_figure import Roof, Slope, merged

CONTEXTS = (128, 512, 2048, 8192, 32768)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Time of a token of each of some sequences with some context.
Tpot = Callable[[int, int], float]
Curve = tuple[tuple[int, float], ...]
#: Share of the memory that a suggestion may use.
USED = 1.0
MILLI = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPoint:
    """One kind of operator in one phase, all layers together."""

    name: str
    phase: str
    ops: float
    traffic_bytes: float
    time_s: float
    bound: str
    path: str
    #: Useful MACs of an array over those that it could do in that time.
    utilization: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that is shown of one combination; times in seconds, of all sequences together."""

    model: str
    machine: str
    format: str
    request: Request
    #: Bound and expectation, which for an accelerator is its cycle model.
    ttft_s: tuple[float, float]
    tpot_s: tuple[float, float]
    #: Shortest and longest time per token to expect.
    tpot_range_s: tuple[float, float]
    prefill_bound: str
    decode_bound: str
    path: str
    memory: MemoryUse
    largest_batch: int
    #: Tokens whose cache takes as much as the weights.
    equal_context: float
    #: Joules of a generated token by component, nominal, and low and high of their sum.
    energy_j: dict[str, float]
    energy_range_j: tuple[float, float]
    cost_usd_per_mtok: float | None
    points: tuple[OperatorPoint, ...]
    roofs: tuple[Roof, ...]
    slope: Slope
    tpot_by_context: tuple[tuple[int, float], ...]
    tpot_by_batch: tuple[tuple[int, float], ...]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the memory holds weights, cache and activations."""
        return self.memory.missing_bytes == 0

    @property
    def tokens_per_s(self) -> float:
        """Expected generated tokens a second while decoding, of all sequences."""
        return self.request.batch / self.tpot_s[1]

    @property
    def output_tokens_per_s(self) -> float:
        """Expected generated tokens a second of whole requests, of all sequences."""
        whole = self.ttft_s[1] + self.tpot_s[1] * self.request.output
        return self.request.batch * self.request.output / whole

    @property
    def energy_per_token_j(self) -> float:
        """Nominal joules of a generated token."""
        return sum(self.energy_j.values())


def on_machine(
    setup: Setup,
    request: Request,
    *,
    speculation: Speculation | None = None,
    utilization: float = 1.0,
) -> Scenario:
    """Predict a request on a processor, GPU or NPU that is busy for a share of the time."""
    found = predict(setup, request, speculation=speculation)
    tpot_s = partial(_tpot_s, setup, speculation)
    machine, batch = setup.machine, request.batch
    energy = found.decode_energy
    short, long = range_s(setup, found.expected.tpot_s)
    return Scenario(
        model=setup.shape.name,
        machine=_title(machine.name, setup),
        format=setup.format.name,
        request=request,
        ttft_s=(found.bound.ttft_s, found.expected.ttft_s),
        tpot_s=(found.bound.tpot_s, found.expected.tpot_s),
        # Nothing to expect beats the bound.
        tpot_range_s=(max(float(short), found.bound.tpot_s), float(long)),
        prefill_bound=found.expected.prefill.bound,
        decode_bound=found.expected.decode.bound,
        path=path_of(setup, "linear").title,
        memory=found.memory,
        largest_batch=found.largest_batch,
        equal_context=equal_context(setup),
        energy_j={name: part.nominal_j / batch for name, part in energy.parts.items()},
        energy_range_j=(energy.total.low_j / batch, energy.total.high_j / batch),
        cost_usd_per_mtok=found.cost_usd_per_mtok(utilization),
        points=tuple(_points(found)),
        roofs=_roofs(setup),
        slope=Slope(name="memory", bytes_per_s=machine.bytes_per_s * setup.split),
        tpot_by_context=_by_context(tpot_s, request, setup.shape),
        tpot_by_batch=_by_batch(tpot_s, request),
        notes=(*_notes(found), *_speculation_notes(setup, speculation)),
    )


def _points(found: Prediction) -> list[OperatorPoint]:
    points = []
    for phase, step in (("prefill", found.expected.prefill), ("decode", found.expected.decode)):
        for timed in step.operators:
            operator = timed.operator
            points.append(
                OperatorPoint(
                    name=operator.name,
                    phase=phase,
                    ops=float(operator.ops + operator.vector_ops),
                    traffic_bytes=float(operator.traffic_bytes),
                    time_s=float(timed.time_s),
                    bound=timed.bound,
                    path=path_of(found.setup, role_of(operator)).title,
                )
            )
        if found.setup.machines > 1:
            points.append(
                OperatorPoint(
                    name="link",
                    phase=phase,
                    ops=0.0,
                    traffic_bytes=0.0,
                    time_s=float(step.link_s),
                    bound="link",
                    path="link between machines",
                )
            )
    return points


def _roofs(setup: Setup) -> tuple[Roof, ...]:
    used = path_of(setup, "linear")
    return merged(
        [
            Roof(
                name=operand,
                ops_per_s=rate * setup.split * setup.thread_share,
                is_native=operand != used.operand or used.kind == "native",
            )
            for operand, rate in setup.machine.native_peaks.items()
        ]
    )


def _tpot_s(setup: Setup, speculation: Speculation | None, batch: int, context: int) -> float:
    if speculation is not None:
        return speculative_tpot_s(
            setup, speculation, Request(batch=batch, prompt=context, output=1)
        )
    step = predict_step(setup, [Sequences(batch=batch, new=1, context=context)], "expected")
    return float(step.time_s)


def _by_context(tpot_s: Tpot, request: Request, shape: ModelShape) -> Curve:
    contexts = [c for c in CONTEXTS if c <= shape.max_context] or [request.prompt]
    return tuple((context, tpot_s(request.batch, context)) for context in contexts)


def _by_batch(tpot_s: Tpot, request: Request) -> Curve:
    middle = request.prompt + request.output // 2
    return tuple((batch, tpot_s(batch, middle)) for batch in BATCHES)


def _notes(found: Prediction) -> list[str]:
    machine = found.setup.machine
    notes = []
    if machine.unconfirmed:
        notes.append(f"{machine.title}: not confirmed: {', '.join(machine.unconfirmed)}")
    if machine.tdp_w is None and machine.idle_w is None:
        notes.append(f"{machine.title}: its power is not known; without static energy")
    if found.setup.machines > 1 and machine.link_gb_per_s is None:
        notes.append(
            f"{machine.title}: nobody told of its link; {DEFAULT_GB_PER_S:g} GB/s each way assumed"
        )
    engine = found.setup.runtime
    if found.setup.machines > 1 and found.setup.parallel == "tensor" and engine.splits_layers:
        notes.append(f"{engine.name} gives each machine some of the layers: --parallel pipeline")
    if found.memory.missing_bytes:
        notes.append(f"does not fit: {found.memory.missing_bytes / 1e9:.2f} GB are missing")
    if found.setup.shape.experts is not None:
        notes.append(_routing_note(found))
    if found.decode_energy.exceeds_limit:
        notes.append("energy summed bottom-up exceeds the power limit; read its low end")
    return notes


def _speculation_notes(setup: Setup, speculation: Speculation | None) -> list[str]:
    if speculation is None:
        return []
    draft = speculation.draft
    proposed = f"{draft.shape.name} proposes {speculation.proposals} tokens"
    accepted = f"each accepted with {speculation.acceptance:g}"
    notes = [f"{proposed}, {accepted}: {speculation.tokens:.3g} tokens a step"]
    if draft.shape.vocabulary != setup.shape.vocabulary:
        sizes = f"{draft.shape.vocabulary} and {setup.shape.vocabulary} tokens"
        notes.append(f"{draft.shape.name} and {setup.shape.name} have vocabularies of {sizes}")
    return notes


def _routing_note(found: Prediction) -> str:
    """Say what a mixture of experts takes if its tokens choose experts as badly as they can."""
    setup, request = found.setup, found.request
    worst = replace(setup, options=replace(setup.options, routing="worst"))
    context = request.prompt + request.output // 2
    times = [_tpot_s(one, None, request.batch, context) * MILLI for one in (setup, worst)]
    return (
        f"{setup.shape.name}: {times[0]:.4g} ms a step if tokens choose experts at random,"
        f" {times[1]:.4g} at worst"
    )


def on_accelerator(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, request: Request
) -> Scenario:
    """Predict a request on an array of PEs, by its cycles."""
    run = partial(accelerator_step, shape, fmt, machine)
    middle = request.prompt + request.output // 2
    steps = accelerator_prefill(shape, fmt, machine, request)
    prefill = steps[-1]
    decode = run("decode", batch=request.batch, context=middle)
    tpot_s = accelerator_tpot_s(shape, fmt, machine, request)
    batch = request.batch
    low, _, high = machine.dram_energy.energy_pj(
        sum(cost.traffic_bytes for _, cost in decode.products) / batch
    )
    on_chip = (decode.pe_energy_j + decode.buffer_energy_j + decode.static_energy_j) / batch
    return Scenario(
        model=shape.name,
        machine=machine.name,
        format=fmt.name,
        request=request,
        ttft_s=(sum(step.bound_s for step in steps), sum(step.time_s for step in steps)),
        tpot_s=(decode.bound_s, tpot_s),
        tpot_range_s=(tpot_s, tpot_s),
        prefill_bound=prefill.limit,
        decode_bound=decode.limit,
        path=_accelerator_path(machine, shape, fmt),
        memory=_accelerator_memory(shape, fmt, machine, request),
        largest_batch=0,
        equal_context=0.0,
        energy_j={
            "PEs": decode.pe_energy_j / batch,
            "buffers": decode.buffer_energy_j / batch,
            "memory": decode.dram_energy_j / batch,
            "static": decode.static_energy_j / batch,
        },
        energy_range_j=(on_chip + low * 1e-12, on_chip + high * 1e-12),
        cost_usd_per_mtok=None,
        points=tuple([*_products("prefill", prefill), *_products("decode", decode)]),
        roofs=_accelerator_roofs(shape, fmt, machine),
        slope=Slope(
            name="memory", bytes_per_s=machine.dram_bits_per_cycle / 8 * machine.clock_mhz * 1e6
        ),
        tpot_by_context=_by_context(
            lambda size, context: run("decode", batch=size, context=context).time_s, request, shape
        ),
        tpot_by_batch=_by_batch(
            lambda size, context: run("decode", batch=size, context=context).time_s, request
        ),
        notes=tuple(_accelerator_notes(machine, shape, fmt)),
    )


def _products(phase: Phase, step: AcceleratorStep) -> list[OperatorPoint]:
    return [
        OperatorPoint(
            name=gemm.name,
            phase=phase,
            ops=2.0 * gemm.macs,
            traffic_bytes=float(cost.traffic_bytes),
            time_s=cost.cycles / step.clock_hz,
            bound=cost.limiter,
            path="PE array",
            utilization=cost.utilization,
        )
        for gemm, cost in step.products
    ]


def _accelerator_path(machine: Accelerator, shape: ModelShape, fmt: ServingFormat) -> str:
    bits = weight_bits(fmt, shape.hidden).code_bits
    return f"{machine.cycles_per_step(bits)} cycles for {machine.lanes} weights of {bits:g} bits"


def _accelerator_memory(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, request: Request
) -> MemoryUse:
    """Return what is stored; the files of accelerators give their memory no size."""
    new = request.step_tokens
    use = stored(shape, fmt, batch=request.batch, length=request.length, new=new)
    if fmt.kv != FP16_CACHE:
        return use
    return replace(use, kv_bytes=use.kv_bytes * machine.kv_bits / FP16_CACHE_BITS)


def _accelerator_roofs(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator
) -> tuple[Roof, ...]:
    rows, columns = array_shape(machine, "prefill")
    roofs = []
    for bits in sorted({weight_bits(fmt, shape.hidden).code_bits, float(RESULT_BITS)}):
        rate = 2.0 * rows * columns * machine.lanes * machine.clock_mhz * 1e6
        roofs.append(
            Roof(name=f"{bits:g}-bit weights", ops_per_s=rate / machine.cycles_per_step(bits))
        )
    return merged(roofs)


def _accelerator_notes(machine: Accelerator, shape: ModelShape, fmt: ServingFormat) -> list[str]:
    notes = []
    if fmt.kv == FP16_CACHE and machine.kv_bits != FP16_CACHE_BITS:
        notes.append(f"{machine.title}: a KV cache of {machine.kv_bits} bits unless --kv names one")
    if 8 * ACTIVATION_BYTES[fmt.activations] > machine.activation_bits:
        own = f"activations of {machine.activation_bits} bits"
        notes.append(f"{machine.title}: {own}, narrower than those of {fmt.name}")
    head = head_bits(fmt, shape.hidden).code_bits
    if head > weight_bits(fmt, shape.hidden).code_bits:
        cycles = machine.cycles_per_step(head)
        notes.append(f"{machine.title}: a head of {head:g} bits, {cycles} cycles a step")
    if machine.pe_leakage_uw is None:
        notes.append(f"{machine.title}: without static energy, which nobody measured")
    if machine.unconfirmed:
        notes.append(f"{machine.title}: not confirmed: {', '.join(machine.unconfirmed)}")
    return notes


def suggestions(
    setup: Setup,
    request: Request,
    formats: Mapping[str, ServingFormat],
    *,
    draft: Setup | None = None,
) -> tuple[str | None, int]:
    """Return the name of the widest format that fits a request, and the largest batch that does."""
    new = request.step_tokens
    batch = largest_batch(setup, length=request.length, new=new, usable=USED, draft=draft)
    fitting = []
    for name, fmt in formats.items():
        use = memory_use(
            replace(setup, format=fmt), batch=request.batch, length=request.length, new=new
        )
        if draft is not None:
            other = replace(draft, format=fmt)
            use = use + memory_use(other, batch=request.batch, length=request.length, new=new)
        if use.missing_bytes == 0:
            fitting.append((use.weight_bytes, name))
    return (max(fitting)[1] if fitting else None), batch


def _title(name: str, setup: Setup) -> str:
    if setup.machines == 1:
        return name
    how = "" if setup.parallel == "tensor" else f" ({setup.parallel})"
    return f"{setup.machines}x {name}{how}"
