"""``qsim roofline``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.app import make_group
from sim.cli.output import print_json, print_line, print_wide
from sim.cli.words import without_models
from sim.deployment.options import RooflineOptions
from sim.errors import UserError, user_errors
from sim.options import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.deployment.scenario import Scenario

DEFAULT = RooflineOptions()

roofline = make_group("roofline", "Predict how fast and at what cost models run on machines.")


@roofline.default
def predict(*words: str, options: RooflineOptions = DEFAULT) -> None:
    """Predict time, memory, energy and cost of requests for every model, machine and format.

    Each time is two numbers: what is expected, and in brackets a bound that no run can beat.

    Parameters
    ----------
    words
        Models, as for --model.
    """
    options = _with_words(options, words)
    if options.compat is not None:
        _print_compat(options)
        return
    from sim.deployment.command import run_roofline
    from sim.deployment.tables import scenarios_table

    scenarios = run_roofline(options)
    report = _write_report(scenarios, options.out) if options.out else None
    if options.json:
        print_json(one.to_record() for one in scenarios)
        return
    print_wide(scenarios_table(scenarios))
    if report:
        print_line(f"\nReport: {report}")


def _write_report(scenarios: "Sequence[Scenario]", out: Path) -> Path:
    # Import Matplotlib, which takes a second, only for reports.
    from sim.deployment.report import write_report
    from sim.provenance import command_line

    return write_report(scenarios, out, command_line())


def _with_words(options: RooflineOptions, words: tuple[str, ...]) -> RooflineOptions:
    """Return options with the models given as positional words."""
    machines, after_hw = without_models(options.machines, files=())
    formats, after_format = without_models(options.formats)
    models = (*words, *options.models, *after_hw, *after_format)
    return replace(options, models=models, machines=machines, formats=formats)


def _print_compat(options: RooflineOptions) -> None:
    from sim.deployment.compat import compat_records, compat_table

    if options.out is not None:
        raise UserError(f"--compat {options.compat} is a table and has no figures; drop --out")
    records = compat_records(options)
    if options.json:
        print_json(records)
    else:
        print_wide(compat_table(records))


@roofline.command(name="list")
def list_roofline() -> None:
    """List the models and the machines that can be predicted."""
    from sim.deployment.hardware import machines_table
    from sim.deployment.shapes import shapes_table

    print_wide(shapes_table())
    print()
    print_wide(machines_table())


@roofline.command
def validate(file: Path | None = None, *, engines: Path | None = None, json: Flag = False) -> None:
    """Score predictions against a CSV table of measured speeds.

    Parameters
    ----------
    file
        Table with the columns device, model, params, weight_format, act_format, batch, prompt_len,
        gen_len, phase, tokens_per_s and source. The words of a row name the engine that ran it;
        the year of its source, or the number of a llama.cpp issue, gives its version. A table with
        the columns device, m, k and n (or network) and one of cycles, time_ms, per_s,
        macs_per_cycle, tops and utilization has products on accelerators. Without a file the
        published rows of the built-in accelerators are scored.
    engines
        TOML table of more words that name engines, as roofline/measured/engines.toml has them.
    json
        Print one JSON object on standard output instead of the tables.
    """
    from roofline.measured.array_rows import PUBLISHED, is_array_table

    with user_errors(ValueError):
        is_array = file is None or is_array_table(file)
    if is_array:
        _validate_arrays(file or PUBLISHED, json=json)
        return
    assert file is not None
    from roofline.measured.validate import validate as validated
    from sim.deployment.validation import validation_record, validation_table

    with user_errors(ValueError):
        found = validated(file, engines)
    if json:
        print_json([validation_record(found)])
    else:
        print_wide(validation_table(found))


def _validate_arrays(file: Path, *, json: bool) -> None:
    """Print the scores of a table of products on accelerators."""
    from roofline.measured.array_validate import validate_arrays
    from sim.deployment.array_validation import array_record, array_table

    with user_errors(ValueError):
        found = validate_arrays(file)
    if json:
        print_json([array_record(found)])
    else:
        print_wide(array_table(found))
