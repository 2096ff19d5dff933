"""Predict a request on an accelerator's array of PEs, by its cycles."""

from dataclasses import replace
from functools import partial

from hw.accelerator import Accelerator
from hw.energy_level import level_note
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
from roofline.time.serving import Request
from roofline.workload.memory import MemoryUse, stored
from sim.deployment.roofs import Roof, Slope, merged
from sim.deployment.scenario import OperatorPoint, Scenario, by_batch, by_context


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
    pe_low, pe_high = _pe_range_j(machine, decode)
    others = decode.buffer_energy_j + decode.static_energy_j
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
        energy_range_j=(
            (pe_low + others) / batch + low * 1e-12,
            (pe_high + others) / batch + high * 1e-12,
        ),
        cost_usd_per_mtok=None,
        points=tuple([*_products("prefill", prefill), *_products("decode", decode)]),
        roofs=_accelerator_roofs(shape, fmt, machine),
        slope=Slope(
            name="memory", bytes_per_s=machine.stream_bytes_per_cycle * machine.clock_mhz * 1e6
        ),
        tpot_by_context=by_context(
            lambda size, context: run("decode", batch=size, context=context).time_s, request, shape
        ),
        tpot_by_batch=by_batch(
            lambda size, context: run("decode", batch=size, context=context).time_s, request
        ),
        notes=tuple(_accelerator_notes(machine, shape, fmt)),
    )


def _pe_range_j(machine: Accelerator, step: AcceleratorStep) -> tuple[float, float]:
    """Return the least and the most energy of the PEs; equal where only one number is known."""
    record = machine.record
    if record is None:
        return step.pe_energy_j, step.pe_energy_j
    energy = record.energy
    low, high = energy.low_pj / energy.nominal_pj, energy.high_pj / energy.nominal_pj
    return step.pe_energy_j * low, step.pe_energy_j * high


def _products(phase: Phase, step: AcceleratorStep) -> list[OperatorPoint]:
    return [
        OperatorPoint(
            name=gemm.name,
            phase=phase,
            ops=2.0 * gemm.macs,
            traffic_bytes=float(cost.traffic_bytes),
            time_s=cost.cycles / step.clock_hz,
            bound=cost.limiter,
            path="processor" if gemm.on_host else "PE array",
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
    """Return the memory use; files of accelerators give their memory no size."""
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
    head = head_bits(fmt, shape.hidden).code_bits
    wider = head > weight_bits(fmt, shape.hidden).code_bits
    if wider and machine.element:
        notes.append(
            f"{machine.title}: a head of {head:g} bits, which {machine.element} cannot read, on a"
            " processor beside the array that reads it as fast as memory delivers it (assumed)"
        )
    elif wider:
        cycles = machine.cycles_per_step(head)
        notes.append(f"{machine.title}: a head of {head:g} bits, {cycles} cycles a step")
    if machine.dataflow == "stream":
        notes.append(
            f"{machine.title}: attention on a processor beside the array that reads keys and values"
            " as fast as memory delivers them (assumed)"
        )
    if machine.element:
        notes.append(level_note())
    if machine.pe_leakage_uw is None:
        notes.append(f"{machine.title}: static energy unknown, not included")
    if machine.unconfirmed:
        notes.append(f"{machine.title}: not confirmed: {', '.join(machine.unconfirmed)}")
    return notes
