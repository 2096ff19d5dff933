"""``qsim roofline``: predict combinations of models, machines and formats, and draw them."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hw.accelerator import Accelerator
from hw.names import Found
from roofline.model.model_shape import ModelShape
from roofline.runtime.online_work import NO_WORK
from roofline.runtime.serving_format import ServingFormat, parse_format
from roofline.time.serving import Request, Speculation
from roofline.workload.setup import Setup
from roofline.workload.step import Options
from sim.deployment.lookup import find_device, find_format
from sim.deployment.model_names import find_config, find_shape, storage_note
from sim.deployment.on_accelerator import on_accelerator
from sim.deployment.on_machine import on_machine, suggestions
from sim.deployment.options import RooflineOptions
from sim.deployment.scenario import Scenario
from sim.errors import UserError, user_errors

if TYPE_CHECKING:
    from sim.deployment.method import Method

MOST_SCENARIOS = 400
#: Formats if --format is not given.
UNQUANTIZED = RooflineOptions().formats
#: Hardware threads of a core, at most, of any CPU in the catalog.
THREADS_PER_CORE = 2
#: Formats to suggest where a model does not fit, the widest first.
OFFERED = ("fp16", "w8a16", "w6a16", "w4a16", "w3a16", "w2a16")


def run_roofline(options: RooflineOptions) -> list[Scenario]:
    """Predict every combination of models, machines and formats.

    Raises
    ------
    UserError
        A name is unknown, a request too long, or no combination fits its machine's memory.
    """
    if not options.models:
        raise UserError("no model given; name one, such as llama-3.1-8b; 'qsim models' lists them")
    if not options.machines:
        raise UserError(
            "no machine given; add --hw NAME, such as --hw rtx-4090; 'qsim hw' lists machines and "
            "accelerators"
        )
    shapes = [find_shape(name) for name in dict.fromkeys(options.models)]
    devices = [find_device(name) for name in dict.fromkeys(options.machines)]
    formats = [
        find_format(name, activations=options.activations, kv=options.kv)
        for name in dict.fromkeys(options.formats)
    ]
    alike = _alike(formats)
    _check_threads(options.threads, devices)
    count = len(shapes) * len(devices) * len(formats)
    if count > MOST_SCENARIOS:
        raise UserError(f"{count} combinations; at most {MOST_SCENARIOS} fit one report")
    request = Request(
        batch=options.batch, prompt=options.prompt, output=options.output, chunk=options.chunk
    )
    draft = find_shape(options.draft) if options.draft else None
    for shape in (*shapes, *([draft] if draft else [])):
        if request.length > shape.max_context:
            raise UserError(
                f"--prompt {request.prompt} and --output {request.output} make {request.length}"
                f" tokens; {shape.name} has a context of {shape.max_context}; "
                f"give smaller ones"
            )
    _check_arrays(options, devices)
    method = _find_method(options, shapes)
    given = list(itertools.product(shapes, devices, formats))
    combinations = [_applied(method, *one) for one in given]
    scenarios = [_predict(*one, request, options, draft) for one in combinations]
    if method is not None:
        scenarios = [
            replace(one, notes=(*one.notes, method.note(shape, one, fmt)))
            for one, (shape, *_), (*_, fmt) in zip(scenarios, given, combinations, strict=True)
        ]
    scenarios = [
        replace(one, notes=(*one.notes, alike[fmt.name])) if fmt.name in alike else one
        for one, (*_, fmt) in zip(scenarios, given, strict=True)
    ]
    if options.formats == UNQUANTIZED:
        scenarios = _with_storage_notes(scenarios, options.models)
    if not any(one.fits for one in scenarios):
        shape, device, fmt = combinations[0]
        assert not isinstance(device, Accelerator)
        setup = _setup(shape, device, fmt, options)
        raise UserError(_too_large(scenarios[0], setup, options, draft, method))
    return scenarios


def _alike(formats: Sequence[ServingFormat]) -> dict[str, str]:
    """Return notes on formats that are one format by several names, by each of the names."""
    groups: dict[ServingFormat, list[str]] = {}
    for fmt in formats:
        nameless = replace(fmt, name="", weights=replace(fmt.weights, name=""))
        groups.setdefault(nameless, []).append(fmt.name)
    return {
        name: f"{' and '.join(names)} are one format"
        for names in groups.values()
        if len(names) > 1
        for name in names
    }


def _find_method(options: RooflineOptions, shapes: Sequence[ModelShape]) -> "Method | None":
    """Return the method of --method, with the configurations of models that can be opened."""
    if options.method is None:
        return None
    # JAX, which methods need, takes a second to import.
    from sim.deployment.method import Method, find_chain

    chain = find_chain(options.method)
    found = zip(shapes, map(find_config, dict.fromkeys(options.models)), strict=True)
    configs = {shape: config for shape, config in found if config is not None}
    return Method(chain=chain, configs=configs)


def _applied(
    method: "Method | None", shape: ModelShape, device: Found | Accelerator, fmt: ServingFormat
) -> tuple[ModelShape, Found | Accelerator, ServingFormat]:
    """Return a combination with the sizes and the run-time work that the method gives."""
    if method is None:
        return shape, device, fmt
    shape, fmt = method.applied(shape, fmt)
    if isinstance(device, Accelerator) and fmt.online != NO_WORK:
        raise UserError(
            f"--method {method.text} needs work at run time, which is predicted for machines; "
            f"{device.name} is an accelerator; give --hw a machine, such as a100-sxm-80gb"
        )
    return shape, device, fmt


def _with_storage_notes(scenarios: Sequence[Scenario], models: Sequence[str]) -> list[Scenario]:
    """Return scenarios in FP16 with notes on models whose files store types of their own."""
    notes = {Path(model).name: note for model in models if (note := storage_note(model))}
    return [
        replace(one, notes=(*one.notes, notes[one.model])) if one.model in notes else one
        for one in scenarios
    ]


def _predict(
    shape: ModelShape,
    device: Found | Accelerator,
    fmt: ServingFormat,
    request: Request,
    options: RooflineOptions,
    draft: ModelShape | None,
) -> Scenario:
    with user_errors(ValueError):
        if isinstance(device, Accelerator):
            return on_accelerator(shape, fmt, device, request)
        setup = _setup(shape, device, fmt, options)
        speculation = None
        if draft is not None:
            speculation = Speculation(
                draft=replace(setup, shape=draft, format=replace(fmt, online=NO_WORK)),
                proposals=options.proposals,
                acceptance=options.acceptance,
            )
        return on_machine(setup, request, speculation=speculation, utilization=options.utilization)


def _check_arrays(options: RooflineOptions, devices: Sequence[Found | Accelerator]) -> None:
    """Refuse options that the cycle model of accelerators would ignore."""
    asked = {
        "--draft": options.draft is not None,
        "--parallel": options.parallel != "tensor",
        "--unfused-attention": options.unfused,
    }
    for device in devices:
        if isinstance(device, Accelerator) and any(asked.values()):
            name = next(name for name, given in asked.items() if given)
            raise UserError(f"{name} is for machines; {device.name} is an accelerator")
    counts = [one.count for one in devices if not isinstance(one, Accelerator)]
    if options.parallel != "tensor" and max(counts, default=1) == 1:
        raise UserError(
            f"--parallel {options.parallel} needs several machines, such as --hw '2x NAME'"
        )


def _check_threads(threads: int | None, devices: Sequence[Found | Accelerator]) -> None:
    if threads is None:
        return
    found = [one.machine for one in devices if not isinstance(one, Accelerator)]
    counts = {one.name: one.cores.all_count for one in found if one.cores is not None}
    if not counts:
        raise UserError("--threads needs a CPU; none of --hw is one")
    for name, count in counts.items():
        if threads > THREADS_PER_CORE * count:
            most = f"{THREADS_PER_CORE * count:g} threads"
            raise UserError(f"--threads {threads}: {name} has {count:g} cores, at most {most}")


def _setup(shape: ModelShape, found: Found, fmt: ServingFormat, options: RooflineOptions) -> Setup:
    return Setup(
        shape=shape,
        format=fmt,
        machine=found.machine,
        machines=found.count,
        # One machine shares nothing.
        parallel=options.parallel if found.count > 1 else "tensor",
        threads=options.threads or found.threads,
        options=Options(fused_attention=not options.unfused),
    )


def _offered(
    shape: ModelShape, options: RooflineOptions, method: "Method | None"
) -> dict[str, ServingFormat]:
    """Return the formats to suggest by name: those that the method can take."""
    formats = {}
    for name in OFFERED:
        fmt = parse_format(name, activations=options.activations, kv=options.kv)
        with suppress(UserError):
            formats[name] = fmt if method is None else method.applied(shape, fmt)[1]
    return formats


def _too_large(
    one: Scenario,
    setup: Setup,
    options: RooflineOptions,
    draft: ModelShape | None,
    method: "Method | None",
) -> str:
    formats = _offered(setup.shape, options, method)
    other = None
    if draft:
        other = replace(setup, shape=draft, format=replace(setup.format, online=NO_WORK))
    widest, batch = suggestions(setup, one.request, formats, draft=other)
    offers = [f"--format {widest}"] if widest else []
    offers += [f"--batch {batch}"] if batch else []
    if not offers and one.request.batch > 1:
        # Neither a narrower format nor a smaller batch is enough by itself.
        alone = replace(one.request, batch=1)
        widest, _ = suggestions(setup, alone, formats, draft=other)
        if widest is not None:
            narrow = replace(setup, format=formats[widest])
            both = None
            if other:
                both = replace(other, format=replace(formats[widest], online=NO_WORK))
            _, batch = suggestions(narrow, alone, formats, draft=both)
            offers.append(f"--format {widest} --batch {batch}")
    need, has = one.memory.total_bytes, one.memory.capacity_bytes
    what_fits = f"; {' or '.join(offers)} fits" if offers else "; no width of weights fits"
    return (
        f"{one.model} in {one.format} needs {need / 1e9:.2f} GB and {one.machine} has"
        f" {has / 1e9:g} GB: {need - has:,.0f} bytes are missing{what_fits}"
    )
