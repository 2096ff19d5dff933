"""Deployments to compare: formats and caches that a machine runs, and machines with a price."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hw.accelerator import Accelerator
from hw.machine import Machine, list_machines, load_machine
from hw.names import Found
from roofline.model.model_shape import ModelShape
from roofline.runtime.engine import engine_for
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.setup import Setup
from sim.deployment.lookup import find_device, find_format
from sim.errors import UserError
from sim.planner.deployment import Deployment, Load, deploy
from sim.planner.losses import Losses
from sim.planner.options import PlanOptions

#: Formats that are compared on GPUs and on CPUs if none is given, the widest first.
GPU_FORMATS = ("fp16", "fp8", "w8a8", "q8_0", "q6_k", "q5_k_m", "w4a16", "nvfp4", "q4_k_m")
CPU_FORMATS = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")
#: Formats that are compared on machines of which only the cheapest are shown.
FEW_FORMATS = ("fp16", "fp8", "w4a16", "nvfp4")
#: Caches in 8 bits of each server.
NARROW_CACHES = {"vLLM": "fp8", "llama.cpp": "q8_0"}
#: Numbers of machines that are compared where none is named.
COUNTS = (1, 2, 4, 8)


def machines_of(options: PlanOptions) -> list[Found]:
    """Return the machines to compare: those named, or all with a price in numbers up to eight."""
    if options.machines:
        return [_machine(text) for text in dict.fromkeys(options.machines)]
    priced = [load_machine(name) for name in list_machines()]
    return [
        Found(machine=machine, count=count)
        for machine in priced
        if machine.price_usd_per_hour is not None and machine.kind == "gpu"
        for count in COUNTS
    ]


def _machine(text: str) -> Found:
    found = find_device(text)
    if isinstance(found, Accelerator):
        raise UserError(f"{found.name} is an accelerator; 'qsim plan' takes machines of 'qsim hw'")
    return found


def formats_of(options: PlanOptions, machine: Machine) -> list[ServingFormat]:
    """Return the formats to compare on a machine: those given, or those that it runs natively."""
    names: Sequence[str] = options.formats
    if not names:
        usual = GPU_FORMATS if machine.kind == "gpu" else CPU_FORMATS
        names = usual if options.machines else FEW_FORMATS
        names = [name for name in names if _is_usual(name, machine)]
    return [find_format(name, kv=options.kv) for name in dict.fromkeys(names)]


def _is_usual(name: str, machine: Machine) -> bool:
    needs = {"fp8": "fp8", "w8a8": "int8", "nvfp4": "fp4"}.get(name)
    return needs is None or machine.ops_per_s(needs) is not None


def deployments(
    shape: ModelShape, load: Load, losses: Losses, options: PlanOptions
) -> Iterator[Deployment]:
    """Yield every deployment to compare; an 8-bit cache only where FP16 does not fit."""
    for found in machines_of(options):
        for fmt in formats_of(options, found.machine):
            one = _deploy(shape, fmt, found, load, losses)
            yield one
            narrow = NARROW_CACHES[engine_for(fmt).server.name]
            if options.kv is None and one.missing_bytes and one.capacity.cache_bytes > 0:
                yield _deploy(shape, replace(fmt, kv=narrow), found, load, losses)


def _deploy(
    shape: ModelShape, fmt: ServingFormat, found: Found, load: Load, losses: Losses
) -> Deployment:
    splits_layers = engine_for(fmt).splits_layers and found.count > 1
    setup = Setup(
        shape=shape,
        format=fmt,
        machine=found.machine,
        machines=found.count,
        parallel="pipeline" if splits_layers else "tensor",
        threads=found.threads,
    )
    return deploy(setup, load, losses.of(setup.format))
