"""Predict a request on a CPU, GPU or NPU, and offer formats and batches that fit its memory."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from roofline.runtime.online_work import NO_WORK
from roofline.runtime.serving_format import ServingFormat
from roofline.time.links import DEFAULT_GB_PER_S
from roofline.time.predict import predict_step, range_s
from roofline.time.rates import path_of
from roofline.time.serving import Prediction, Request, Speculation, predict, speculative_tpot_s
from roofline.workload.memory import equal_context, largest_batch, memory_use
from roofline.workload.operator import role_of
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences
from sim.deployment.binding import FAR, binding
from sim.deployment.roofs import Roof, Slope, merged
from sim.deployment.scenario import OperatorPoint, Scenario, by_batch, by_context

#: Share of the memory that a suggested format or batch may use.
USED = 1.0
MILLI = 1e3


def on_machine(
    setup: Setup,
    request: Request,
    *,
    speculation: Speculation | None = None,
    utilization: float = 1.0,
) -> Scenario:
    """Predict a request on a CPU, GPU or NPU that is busy for a fraction of the time."""
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
        # The range of the expectation ends at the bound.
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
        tpot_by_context=by_context(tpot_s, request, setup.shape),
        tpot_by_batch=by_batch(tpot_s, request),
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


def _where(found: Prediction) -> str:
    setup = found.setup
    return f"{setup.shape.name} on {setup.machine.name} in {setup.format.name}"


def _notes(found: Prediction) -> list[str]:
    machine = found.setup.machine
    notes = []
    if machine.unconfirmed:
        notes.append(f"{machine.title}: not confirmed: {', '.join(machine.unconfirmed)}")
    if machine.tdp_w is None and machine.idle_w is None:
        notes.append(f"{machine.title}: power unknown, static energy not included")
    if found.setup.machines > 1 and machine.link_gb_per_s is None:
        notes.append(
            f"{machine.title}: link bandwidth unknown; assuming {DEFAULT_GB_PER_S:g} GB/s each way"
        )
    engine = found.setup.runtime
    if found.setup.machines > 1 and found.setup.parallel == "tensor" and engine.splits_layers:
        notes.append(f"{engine.name} gives each machine some of the layers: --parallel pipeline")
    factor = found.expected.tpot_s / found.bound.tpot_s
    if factor > FAR:
        parts = binding(found.setup, found.expected.decode)
        notes.append(f"{_where(found)}: expected {factor:.1f} times the bound: {parts}")
    if found.memory.missing_bytes:
        notes.append(f"does not fit: {found.memory.missing_bytes / 1e9:.2f} GB are missing")
    if found.setup.shape.experts is not None:
        notes.append(_routing_note(found))
    if found.decode_energy.exceeds_limit:
        notes.append(
            "nominal energy exceeds the power limit; the low end of its range is more likely"
        )
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
    """Return a note on the time of a step with random and with the worst choice of experts."""
    setup, request = found.setup, found.request
    worst = replace(setup, options=replace(setup.options, routing="worst"))
    context = request.prompt + request.output // 2
    times = [_tpot_s(one, None, request.batch, context) * MILLI for one in (setup, worst)]
    return (
        f"{setup.shape.name}: {times[0]:.4g} ms a step if tokens choose experts at random,"
        f" {times[1]:.4g} at worst"
    )


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
            other = replace(draft, format=replace(fmt, online=NO_WORK))
            use = use + memory_use(other, batch=request.batch, length=request.length, new=new)
        if use.missing_bytes == 0:
            fitting.append((use.weight_bytes, name))
    return (max(fitting)[1] if fitting else None), batch


def _title(name: str, setup: Setup) -> str:
    if setup.machines == 1:
        return name
    how = "" if setup.parallel == "tensor" else f" ({setup.parallel})"
    return f"{setup.machines}x {name}{how}"
