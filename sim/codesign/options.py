"""The options of ``qsim codesign``, written once: command line, help, specification files."""

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from hw.toml_reader import read_toml
from sim.errors import UserError, user_errors
from sim.options import Count, Flag, Name, Names

#: A number above 0.
Positive = Annotated[float, Parameter(validator=Number(gt=0))]
#: Numbers above 0 after one option.
Numbers = Annotated[
    tuple[float, ...],
    Parameter(consume_multiple=(1, sys.maxsize), validator=Number(gt=0), show_default=False),
]
Counts = Annotated[
    tuple[int, ...],
    Parameter(consume_multiple=(1, sys.maxsize), validator=Number(gt=0), show_default=False),
]
#: Least and largest value of each list: bandwidths in GB/s, clocks in MHz.
RANGES = {
    "bandwidth": (1e-3, 1e5),
    "rows": (1, 1_000_000),
    "columns": (1, 1_000_000),
    "weight_buffer": (0, 1_000_000),
    "prompt": (1, 1_000_000),
    "clock": (1e-2, 1e5),
}
#: Numbers from 0 on after one option.
CountsOrNone = Annotated[
    tuple[int, ...],
    Parameter(consume_multiple=(1, sys.maxsize), validator=Number(gte=0), show_default=False),
]
Objective = Literal["energy", "area", "speed", "accuracy", "ttft"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CodesignOptions:
    """Limits of a design, the formats and machines to choose from, and what to prefer."""

    target: Positive | None = None
    """Tokens/s to reach, as expected while generating."""
    area: Positive | None = None
    """Area of the chip at most, mm2 in the 45 nm library of the PE records."""
    energy: Positive | None = None
    """Energy of a token at most, J, nominal."""
    kl: Positive | None = None
    """Divergence from the float32 model at most, nats per token; the answer keeps 0.02 without."""
    ttft: Positive | None = None
    """Seconds to the first token of the longest --prompt at most."""
    fpga: Name | None = None
    """FPGA to fit, ecp5-25 ecp5-45 ecp5-85 or ice40up5k, instead of --area; energy is unknown."""
    objective: Objective = "energy"
    """What the answer has least (or most, for speed) of, among designs within the limits; speed in
    place of energy on an FPGA, ttft with --prompt."""
    formats: Annotated[Names, Parameter(name="--format")] = ()
    """Weight formats to choose from; all that were measured if not given."""
    elements: Annotated[Names, Parameter(name="--element")] = ()
    """PEs of 'qsim rtl' to choose from; all that machines can be made of if not given."""
    kv: str = "fp16"
    """Format of the KV cache; only those that were measured."""
    context: Count = 512
    """Tokens before the generated one."""
    memory: Names = ("lpddr4",)
    """Kinds of memory, such as lpddr4 lpddr5 ddr4 hbm2."""
    bandwidth: Numbers = (0.8, 1.6, 3.2, 6.4, 12.8, 25.6)
    """Bandwidths of memory in GB/s."""
    rows: Counts = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
    """Output channels that the machine computes at once."""
    columns: Counts = (1,)
    """Tokens that the machine computes at once."""
    weight_buffer: CountsOrNone = (0,)
    """Weight buffers in KiB, each with as large a buffer of activations, so that the tokens of a
    prompt share weights; 0 for a FIFO alone."""
    prompt: Counts = ()
    """Prompt lengths in tokens; the time to the first token of each is an objective of the front.
    """
    clock: Numbers = (
        25.0, 50.0, 75.0, 100.0, 125.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0, 500.0,
        600.0, 700.0, 800.0, 900.0, 1000.0,
    )  # fmt: skip
    """Clocks in MHz; those that a PE does not reach are left out."""
    accuracy: tuple[str, ...] = ()
    """Directories of sweeps of the model, or CSV tables, instead of the table that is built in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile(CodesignOptions):
    """A specification file: the options, and the model."""

    model: str


def read_spec(path: Path) -> SpecFile:
    """Return the specification in a TOML file, whose keys are the options."""
    with user_errors(ValueError):
        found: SpecFile = read_toml(path, SpecFile)
        _check(found, path)
    return found


def _check(found: SpecFile, path: Path) -> None:
    objectives = ("energy", "area", "speed", "accuracy", "ttft")
    if found.objective not in objectives:
        raise ValueError(
            f"{path}: objective is {found.objective!r}, not one of {', '.join(objectives)}"
        )
    for name in ("target", "area", "energy", "kl", "ttft", "context"):
        if getattr(found, name) == 0:
            raise ValueError(f"{path}: {name} is 0, not above 0")


def merged(spec: SpecFile, given: CodesignOptions) -> CodesignOptions:
    """Return a file's options with those that the command line gives."""
    default = CodesignOptions()
    changed = {
        one.name: getattr(given, one.name)
        for one in fields(CodesignOptions)
        if getattr(given, one.name) != getattr(default, one.name)
    }
    own = {one.name: getattr(spec, one.name) for one in fields(CodesignOptions)}
    return replace(default, **own | changed)


def check_options(options: CodesignOptions) -> None:
    """Raise UserError for lists without a value, with one twice, or with one out of range."""
    for name in ("memory", "bandwidth", "rows", "columns", "weight_buffer", "prompt", "clock"):
        values = getattr(options, name)
        if not values and name != "prompt":
            raise UserError(f"{name} is empty, so there is no design; give at least one value")
        if len(set(values)) < len(values):
            raise UserError(f"{name} has a value twice; give each once")
        if name in RANGES:
            low, high = RANGES[name]
            for value in values:
                if not low <= value <= high:
                    raise UserError(f"{name} has {value:g}, which is not from {low:g} to {high:g}")
    if not options.prompt and (options.ttft is not None or options.objective == "ttft"):
        given = "--ttft" if options.ttft is not None else "--objective ttft"
        raise UserError(f"{given} is for prompts; give --prompt with their tokens")
    if options.fpga is not None and (options.area or options.energy):
        name = "area" if options.area else "energy"
        raise UserError(f"--fpga and --{name} exclude each other; the device is the limit of area")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class MixOptions:
    """Formats of a mix, its size, and the text that measures it."""

    formats: Annotated[Names, Parameter(name="--format")] = ("int4", "int8")
    """Weight formats to mix."""
    bits: Positive = 5.0
    """Bits per weight of the linear layers at most, side data included."""
    activations: Name | None = None
    """Format of the inputs of all linear layers."""
    best: Count = 3
    """Mixes that are measured whole."""
    text: Path | None = None
    """UTF-8 text to score; the built-in held-out text if not given."""
    tokens: Count = 4096
    """Tokens to read, in windows of --context."""
    context: Count = 256
    """Window length in tokens."""
    out: Path = Path("qsim-mix")
    """Directory of the store of measured points; the same command goes on where it stopped."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Measurement of missing accuracy points."""

    run_missing: Flag = False
    """Measure first the accuracy points that could change the front; the same command goes on where
    it stopped."""
    points: Path = Path("qsim-points")
    """Directory of the store of points that --run-missing measures."""
    weights: str | None = None
    """Model of 'qsim models' to measure, if not the model itself."""
    text: Path | None = None
    """UTF-8 text of the accuracy table, if not the built-in one."""
    workers: Count = 1
    """Processes that measure points at the same time, each on its share of the cores."""


def check_run(options: RunOptions) -> None:
    """Raise UserError for options that only --run-missing reads, and for a file as its store."""
    if options.run_missing:
        if options.points.exists() and not options.points.is_dir():
            raise UserError(f"--points {options.points} is a file; name a directory")
        return
    for name in ("points", "weights", "text", "workers"):
        value = getattr(options, name)
        if value != getattr(RunOptions(), name):
            raise UserError(f"--{name} {value} is for --run-missing; add it")
