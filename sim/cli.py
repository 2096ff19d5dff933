"""The ``qsim`` command."""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from sim.errors import UserError

EXIT_DIFFERENT = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
#: Columns of a table that goes into a file or a pipe.
FILE_WIDTH = 200

app = App(
    name="qsim",
    help="What a number format costs: in accuracy, in silicon, in time.",
    version=lambda: version("qsim-codesign"),
    # Ctrl-C is handled in main.
    suppress_keyboard_interrupt=False,
    # No --no-spread or --empty-format.
    default_parameter=Parameter(negative=()),
)
models = App(name="models", help="List the models that sweeps can use, or fetch one.")
app.command(models)
formats = App(name="formats", help="List the number formats, show one, or explain a rounding.")
app.command(formats)
hw = App(name="hw", help="List the machines, show one with its sources, or measure this one.")
app.command(hw)
roofline = App(name="roofline", help="Predict how fast and at what cost models run on machines.")
app.command(roofline)
rtl = App(name="rtl", help="List the processing elements; emit, verify or cost them.")
app.command(rtl)


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    """Return a whole number as it is written; 1.5 is none, and is not rounded."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


Count = Annotated[int, Parameter(validator=Number(gt=0), converter=_whole)]


@app.command
def sweep(
    recipes: Path | None = None,
    /,
    *,
    format: list[str] | None = None,
    model: str = "embedded",
    text: Path | None = None,
    tokens: Count = 16384,
    context: Count = 512,
    spread: bool = False,
    group_size: Count | None = None,
    activations: str | None = None,
    kv: str | None = None,
    skip: list[str] | None = None,
    bit_true: bool = False,
    pe: str | None = None,
    dither_source: bool = False,
    seed: int = 0,
    out: Path = Path("qsim-out"),
    json: bool = False,
) -> None:
    """Measure what storing a model in other number formats does to its predictions.

    Every point is compared with the float32 model on the same windows of text. Finished points are
    kept in results.sqlite under --out: run the same command again and it goes on where it stopped.

    Parameters
    ----------
    recipes
        TOML file of recipes and grids, instead of or beside --format.
    format
        Weight format such as fp4, int4, mxfp4, nvfp4 or fp4_e2m1:g64:bf16; repeat it for more, or
        say all.
    model
        embedded, the id of a fetched model, a directory, a .gguf file or a hub id.
    text
        UTF-8 text to score; the built-in held-out text if not given.
    tokens
        Tokens to read, in windows of --context.
    context
        Window length in tokens; every position but the first of a window is scored.
    spread
        Take the windows evenly over the text instead of consecutively from its start.
    group_size
        Consecutive weights that share a scale, for formats that leave it open.
    activations
        Format of the inputs of the linear layers, quantized on the fly.
    kv
        Format of the KV cache.
    skip
        Pattern of layers to keep in float32, such as '*.down_proj'; repeat it for more. Embeddings
        and lm_head are always kept unless a recipe names them.
    bit_true
        Compute dot products of quantized weights and activations as exact integers, group by group.
    pe
        Compute dot products of weights and FP16 activations as a processing element does whose sums
        round, such as bitmod-fp4-aligned or fp16-mac.
    dither_source
        Add noise of one source quantization step to a model whose weights lie on a grid.
    seed
        Seed of that noise.
    out
        Directory of the store and the report.
    json
        Print one JSON object a point on standard output instead of the table.
    """
    from sim.report import print_table
    from sim.sweep.command import SweepOptions, run_sweep

    if bit_true and pe is not None:
        raise UserError(f"--bit-true asks for exact sums and --pe for those of {pe}; give one")
    outcome = run_sweep(
        SweepOptions(
            recipes=recipes,
            formats=tuple(format or ()),
            model=model,
            text=text,
            tokens=tokens,
            context=context,
            spread=spread,
            group_size=group_size,
            activations=activations,
            kv=kv,
            skip=tuple(skip or ()),
            pe="exact" if bit_true else pe,
            dither_seed=seed if dither_source else None,
            out=out,
            as_json=json,
        )
    )
    if not json:
        console = Console()
        console.print()
        print_table(outcome.results, console)
        console.print(f"\nReport: {out / 'report.html'}", soft_wrap=True, highlight=False)


@app.command
def quantize(
    model: str,
    /,
    *,
    format: str,
    out: Path,
    group_size: Count | None = None,
    skip: list[str] | None = None,
) -> None:
    """Write a model as a packed checkpoint: codes and scales in safetensors, a JSON description.

    Block types of GGUF, such as q4_0 and tq2_0, become a .gguf file in the directory instead.

    The directory is a model for --model of other commands, and reads as the very numbers that a
    sweep of the same format computes with.

    Parameters
    ----------
    model
        embedded, the id of a fetched model, a directory, a .gguf file or a hub id.
    format
        Weight format, as for qsim sweep.
    out
        Directory to make; it must not exist yet.
    group_size
        Consecutive weights that share a scale, for formats that leave it open.
    skip
        Pattern of layers to keep as they are; repeat it for more. Embeddings and lm_head are
        always kept.
    """
    from sim.quantized.writer import write_checkpoint
    from sim.sources.catalog import open_model
    from sim.sweep.recipe_file import make_recipe

    recipe = make_recipe(format, group_size=group_size, skip=tuple(skip or ()))
    path = write_checkpoint(open_model(model), recipe, out)
    size = sum(file.stat().st_size for file in path.iterdir())
    Console().print(f"{path}: {size / 1e6:.1f} MB", soft_wrap=True, highlight=False)


@models.default
def list_models() -> None:
    """List the embedded, the fetched and the known models."""
    from sim.sources.catalog import list_models as rows
    from sim.sources.table import models_table

    Console().print(models_table(rows()))


@models.command
def fetch(model: str, /) -> None:
    """Fetch a known model into the user's cache, checking its hash.

    Parameters
    ----------
    model
        Id of a known model, as listed by qsim models.
    """
    from sim.sources.catalog import fetch as fetch_model

    Console().print(f"{model} is at {fetch_model(model)}", soft_wrap=True)


@formats.default
def list_formats() -> None:
    """List the named formats: bits, values, range, bits per weight and source.

    Bits per weight are those of a 4096 x 4096 matrix, side data included.
    """
    from sim.formats.tables import families_table, formats_table

    _print_wide(formats_table())
    print()
    _print_wide(families_table())


@formats.command
def show(name: str, /, *, out: Path | None = None) -> None:
    """Show how a format stores a matrix, its values, their midpoints and where ties go.

    Parameters
    ----------
    name
        Name of a format, as listed by qsim formats, or of an element such as fp4_e2m1.
    out
        Draw the values into this .png or .svg file too.
    """
    from sim.formats.grid_figure import write_grid
    from sim.formats.lookup import find_definition, find_formats
    from sim.formats.tables import grid_table, scheme_text

    scheme = find_definition(name)
    found = find_formats(name) if scheme is None or scheme.formats or out is not None else ()
    if out is not None:
        write_grid(found, out)
    if scheme is not None:
        _print_wide(scheme_text(scheme))
    for fmt in found:
        _print_wide(grid_table(fmt))


@formats.command
def explain(name: str, number: float, /, *others: float) -> None:
    """Say what a number becomes in a format, and why; or some that are quantized together.

    Parameters
    ----------
    name
        Name of a format, as listed by qsim formats, or of an element such as fp4_e2m1.
    number
        The number, in units of the scale.
    others
        More numbers of its row: all are quantized together, with the scale that they get.
    """
    from sim.formats.lookup import find_formats, find_scheme

    if others:
        from sim.formats.group import group_text

        _print_wide(group_text(find_scheme(name), (number, *others)))
        return
    from sim.formats.tables import explain_text

    _print_wide(explain_text(find_formats(name), number))


@formats.command
def check(directory: Path, /) -> None:
    """Compare another implementation's codes with the conformance pack; exit 1 on a difference.

    Parameters
    ----------
    directory
        Holds formats/NAME.npz and schemes/NAME.npz, laid out as numerics.conformance describes.
    """
    from sim.formats.conformance import check as compare

    table, is_equal = compare(directory)
    _print_wide(table)
    if not is_equal:
        sys.exit(EXIT_DIFFERENT)


@rtl.default
def list_rtl() -> None:
    """List the processing elements."""
    from sim.hardware.tables import pes_table

    _print_wide(pes_table())


@rtl.command(name="emit")
def emit_rtl(
    pe: str,
    /,
    *,
    out: Path,
    lanes: Count | None = None,
    length: Count | None = None,
    accumulator: Count | None = None,
    weights: str | None = None,
    activations: str | None = None,
) -> None:
    """Write the Verilog of a processing element.

    Parameters
    ----------
    pe
        Name, as listed by qsim rtl.
    out
        Directory for the file.
    lanes
        Values of a dot product in one cycle.
    length
        Most values of a group; it decides the width of an exact sum.
    accumulator
        Bits of the sum, instead of those that every sum fits.
    weights
        Format instead of the one listed, such as fp4_e2m1; for exact dot products.
    activations
        The same of the activations.
    """
    from sim.hardware.command import emit

    path = emit(
        pe,
        out,
        lanes=lanes,
        length=length,
        accumulator_bits=accumulator,
        weights=weights,
        activations=activations,
    )
    Console().print(str(path), soft_wrap=True, highlight=False)


@rtl.command(name="verify")
def verify_rtl(*pes: str, dots: Count | None = None) -> None:
    """Verify processing elements: compiled code, a simulator, and a proof; exit 1 on a failure.

    Parameters
    ----------
    pes
        Names, as listed by qsim rtl; all if none is given.
    dots
        Random dot products in compiled code; ten million if not given.
    """
    from sim.hardware.command import verdicts
    from sim.hardware.tables import verdict_line

    is_good, count = True, 0
    for verdict in verdicts(pes, dots=dots):
        print(verdict_line(verdict), flush=True)
        is_good, count = is_good and verdict.is_good, count + 1
    if not is_good or not count:
        sys.exit(EXIT_DIFFERENT)


@rtl.command(name="run-layer")
def run_layer_rtl(
    pe: str,
    /,
    *,
    model: str = "embedded",
    layer: str = "layers.0.self_attn.q_proj",
    tokens: Count = 16,
    lanes: Count | None = None,
    tile: Count | None = None,
    codes: Path | None = None,
    json: bool = False,
) -> None:
    """Run a linear layer of a model through a compiled tile of PEs; exit 1 on a difference.

    Parameters
    ----------
    pe
        Name, as listed by qsim rtl.
    model
        embedded, the id of a fetched model, a directory, a .gguf file or a hub id.
    layer
        Linear layer, such as layers.3.mlp.down_proj.
    tokens
        Tokens of the held-out text whose activations are run.
    lanes
        Values of a dot product in one cycle; if not given 8, or the PE's own where its sums round
        or its codes stand for several values.
    tile
        Outputs at a time, at most those of the layer, each by a PE or a column of one; if not
        given 4, 2 of large PEs, or the PE's own columns.
    codes
        File to write the layer's codes to, which qsim rtl cost --operands reads.
    json
        Print one JSON object instead of a sentence.
    """
    from dataclasses import asdict

    from sim.hardware.command import find_pes
    from sim.hardware.run_layer import run_layer
    from sim.hardware.tables import layer_line

    (found,) = find_pes([pe])
    result = run_layer(model, layer, found, tokens=tokens, lanes=lanes, tile=tile, codes=codes)
    if json:
        _print_json([asdict(result)])
    else:
        print(layer_line(result))
    if not result.is_equal:
        sys.exit(EXIT_DIFFERENT)


@rtl.command(name="cost")
def cost_rtl(
    *pes: str,
    liberty: Path | None = None,
    operands: Path | None = None,
    fpga: str | None = None,
    all: bool = False,
    json: bool = False,
) -> None:
    """Print what processing elements cost in area, delay and energy, or of an FPGA.

    Parameters
    ----------
    pes
        Names, as listed by qsim rtl; all if none is given.
    liberty
        Another cell library; delay and energy take one number of each of its tables.
    operands
        Codes of a layer, as qsim rtl run-layer --codes writes them, to measure energy on.
    fpga
        ecp5 or ice40: print lookup tables, flip-flops, DSP blocks and clock rate instead.
    all
        Synthesize and measure again instead of reading the stored records.
    json
        Print one JSON object a processing element.
    """
    from dataclasses import asdict

    from sim.hardware.command import costs
    from sim.hardware.fpga import fpga_records
    from sim.hardware.tables import costs_table, fpga_table

    if fpga is not None and (liberty or operands):
        raise UserError("--fpga has cells of its own and no energy; drop --liberty and --operands")
    with Console(stderr=True).status("synthesizing") as status:

        def tell(name: str) -> None:
            status.update(f"synthesizing {name}")

        if fpga is None:
            found = costs(pes, liberty=liberty, operands=operands, fresh=all, tell=tell)
        else:
            found = fpga_records(pes, fpga, fresh=all, tell=tell)
    if found.unstored:
        print(f"qsim: new records are not stored: {found.unstored}", file=sys.stderr)
    if json:
        _print_json([asdict(record) for record in found.records])
    elif fpga is not None:
        _print_wide(fpga_table(found, fpga))
    else:
        is_own = operands is not None
        _print_wide(costs_table(found.records, found.stale, has_own_operands=is_own))


@hw.default
def list_hw() -> None:
    """List the built-in machines and accelerators."""
    from sim.deployment.hardware import machines_table

    _print_wide(machines_table())


@hw.command(name="show")
def show_hw(name: str, /) -> None:
    """Show every number of a machine with its source.

    Parameters
    ----------
    name
        Name of a machine, as listed by qsim hw, or its .toml file.
    """
    from sim.deployment.hardware import device_table

    _print_wide(device_table(name))


@hw.command(name="measure")
def measure_hw(*, out: Path = Path("this-machine.toml"), repetitions: Count = 7) -> None:
    """Measure this machine's matrix products and read bandwidth, and write its file.

    Parameters
    ----------
    out
        File to write; name it with --hw to predict for this machine.
    repetitions
        Repetitions of each measurement; the best counts, and scatter is told.
    """
    from hw.measure import measure
    from sim.deployment.hardware import check_machine_path, measurement_table, write_machine

    check_machine_path(out)
    with Console(stderr=True).status("measuring products and read bandwidth"):
        found = measure(repetitions=repetitions)
    write_machine(found, out)
    _print_wide(measurement_table(found))
    Console().print(f"\n{out}", soft_wrap=True, highlight=False)


@roofline.default
def predict_roofline(
    *models: str,
    hw: list[str],
    format: list[str] | None = None,
    activations: str | None = None,
    kv: str | None = None,
    batch: Count = 1,
    prompt: Count = 512,
    output: Count = 128,
    chunk: Count | None = None,
    threads: Count | None = None,
    parallel: Literal["tensor", "pipeline", "expert"] = "tensor",
    draft: str | None = None,
    proposals: Count = 4,
    acceptance: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.8,
    unfused_attention: Annotated[bool, Parameter(negative="")] = False,
    utilization: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 1.0,
    compat: Literal["llm-viewer"] | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Predict time, memory, energy and cost of requests for every model, machine and format.

    Each time is two numbers: what is expected, and in brackets a bound that no run can beat.

    Parameters
    ----------
    models
        Models such as llama-3.1-8b, or .toml files of their sizes.
    hw
        Machine or accelerator as listed by qsim hw, such as a100-sxm-80gb, 2x rtx-4090 or bitmod,
        or its .toml file; repeat it for more.
    format
        Weight format such as w4a16, fp8, nvfp4, gguf-q4_k_m, i2_s or one of qsim formats; fp16 if
        not given; repeat it for more.
    activations
        Operand type of activations: fp16, fp8, int8, fp4, int4 or fp32.
    kv
        Format of the KV cache, such as int8.
    batch
        Sequences at once.
    prompt
        Tokens of each prompt.
    output
        Tokens of each answer.
    chunk
        Tokens of a prompt in one step; all of them if not given.
    threads
        Threads of a processor; one for each core if not given.
    parallel
        How several machines share a model: each has a part of every layer, some of the layers, or
        some of the experts.
    draft
        Model that proposes tokens, which MODELS check: speculative decoding.
    proposals
        Tokens that the draft proposes at a time.
    acceptance
        Probability that a proposed token is accepted.
    unfused_attention
        Write scores to memory between the products of attention.
    utilization
        Share of the time in which the machine is busy, for the cost of a token.
    compat
        llm-viewer computes as that program does, with its defects, for comparison.
    out
        Directory for the figures and report.html.
    json
        Print one JSON object a combination on standard output instead of the table.
    """
    from sim.deployment.command import RooflineOptions, run_roofline, write_report
    from sim.deployment.tables import record, scenarios_table
    from sim.provenance import command_line

    options = RooflineOptions(
        models=models,
        machines=tuple(hw),
        formats=tuple(format or ("fp16",)),
        activations=activations,
        kv=kv,
        batch=batch,
        prompt=prompt,
        output=output,
        chunk=chunk,
        threads=threads,
        parallel=parallel,
        draft=draft,
        proposals=proposals,
        acceptance=acceptance,
        unfused=unfused_attention,
        utilization=utilization,
    )
    if compat is not None:
        if out is not None:
            raise UserError(f"--compat {compat} is a table and has no figures; drop --out")
        from sim.deployment.compat import compat_records, compat_table

        records = compat_records(options)
        if json:
            _print_json(records)
        else:
            _print_wide(compat_table(records))
        return
    scenarios = run_roofline(options)
    report = write_report(scenarios, out, command_line()) if out else None
    if json:
        _print_json([record(one) for one in scenarios])
        return
    _print_wide(scenarios_table(scenarios))
    if report:
        Console().print(f"\nReport: {report}", soft_wrap=True, highlight=False)


@roofline.command(name="validate")
def validate_roofline(file: Path, /, *, json: bool = False) -> None:
    """Score predictions against a CSV table of measured speeds.

    Parameters
    ----------
    file
        Table with the columns device, model, params, weight_format, act_format, batch, prompt_len,
        gen_len, phase, tokens_per_s and source. Words of a row tell the program that ran it, and
        the year of its source, or a number of llama.cpp's issues, how old that was.
    json
        Print one JSON object on standard output instead of the tables.
    """
    from roofline.measured.validate import validate
    from sim.deployment.tables import validation_record, validation_table

    try:
        found = validate(file)
    except ValueError as error:
        raise UserError(str(error)) from None
    if json:
        _print_json([validation_record(found)])
    else:
        _print_wide(validation_table(found))


def _print_json(records: Sequence[Any]) -> None:
    import json

    for one in records:
        print(json.dumps(one))


def _print_wide(text: Any) -> None:
    """Print, in wider lines than a terminal's where the output is none."""
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(text, highlight=False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 2 on bad input and 130 on Ctrl-C."""
    code = _exit_code(lambda: app(arguments, exit_on_error=False, print_error=False))
    if code and arguments is None:
        _leave_at_once(code)
    sys.exit(code)


def _leave_at_once(code: int) -> None:
    """End the process as it is: computations under way abort one that waits for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    # What was shared with other processes is given back.
    gc.collect()
    os._exit(code)


def _drop_unwritable_output() -> None:
    """Keep what standard output can't take from failing once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(run: Callable[[], Any]) -> int:
    try:
        run()
    except (UserError, cyclopts.CycloptsError) as error:
        return _complain(str(error), EXIT_USER_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", EXIT_USER_ERROR)
    except KeyboardInterrupt:
        return _complain("interrupted; run the same command to go on", EXIT_INTERRUPTED)
    return 0


def _complain(message: str, code: int) -> int:
    _drop_unwritable_output()
    line = " ".join(message.split())
    print(f"qsim: {line}", file=sys.stderr)
    return code
