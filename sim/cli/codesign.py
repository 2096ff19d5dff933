"""``qsim codesign``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sim.cli.app import make_group
from sim.cli.output import print_json, print_line, print_wide
from sim.codesign.options import CodesignOptions, MixOptions, Positive, RunOptions
from sim.errors import UserError
from sim.options import Count, Flag, Names

DEFAULT, MIX, NO_RUN = CodesignOptions(), MixOptions(), RunOptions()
FILE_SUFFIX = ".toml"

codesign = make_group("codesign", "Choose format, PE and machine of a model together.")


@codesign.default
def choose(
    model: str,
    *,
    options: CodesignOptions = DEFAULT,
    running: RunOptions = NO_RUN,
    out: Path | None = None,
    json: Flag = False,
) -> None:
    """Find the designs of a chip for a model: accuracy, tokens/s, energy and area together.

    Every format with a measured accuracy is joined with every PE that reads it on every machine of
    a grid. The exact Pareto front is printed, each class of equal accuracy with its cheapest design
    first; one design, marked *, is the answer.

    Parameters
    ----------
    model
        Model of 'qsim models', such as smollm2-135m, or a .toml file with the key model and
        options as keys.
    out
        Directory for the tables, codesign.json and the page codesign.html.
    json
        Print one JSON object on standard output instead of the tables.
    """
    from sim.codesign.command import run_codesign
    from sim.codesign.options import merged, read_spec

    if model.endswith(FILE_SUFFIX):
        spec = read_spec(Path(model))
        model, options = spec.model, merged(spec, options)
    found = run_codesign(model, options, running)
    from sim.codesign.files import to_record, write_codesign
    from sim.codesign.tables import result_text

    written = write_codesign(found, out) if out is not None else []
    if json:
        print_json([to_record(found)])
        return
    print_wide(result_text(found))
    if written:
        print_line(f"\nReport: {written[-1]}")


@codesign.command
def require(
    model: str,
    *,
    target: Annotated[Positive | None, Parameter(name="--target")] = None,
    formats: Annotated[Names, Parameter(name="--format")] = ("fp16", "w8a8", "w4a8", "w3a16"),
    context: Count = 512,
    json: Flag = False,
) -> None:
    """Print what any machine must have for a rate of tokens: GB/s, GMAC/s and MiB.

    Parameters
    ----------
    model
        Model of 'qsim models', or a .toml file of its sizes.
    target
        Tokens/s to reach.
    formats
        Formats of 'qsim formats'; lm_head and embedding stay in FP16.
    context
        Tokens before the generated one.
    json
        Print one JSON object a format instead of the table.
    """
    from sim.codesign.require import requirement
    from sim.codesign.tables import requirement_table
    from sim.deployment.lookup import find_format
    from sim.deployment.model_names import find_shape

    if target is None:
        raise UserError("qsim codesign require needs --target, the tokens/s to reach")
    shape = find_shape(model)
    found = [
        requirement(shape, find_format(name), tokens_per_s=target, context=context)
        for name in formats
    ]
    if json:
        print_json(
            {
                "model": shape.name,
                "format": one.format,
                "tokens_per_s": one.tokens_per_s,
                "gb_per_s": one.gb_per_s,
                "gmac_per_s": one.gmac_per_s,
                "bytes_per_token": one.bytes_per_token,
                "macs_per_token": one.macs_per_token,
                "stored_mib": one.stored_mib,
            }
            for one in found
        )
        return
    print_wide(requirement_table(found))
    print_line(
        f"Counted from the sizes of {shape.name} after {context} tokens: weights, keys and values"
        " read once a token, none kept on the chip."
    )


@codesign.command
def emit(directory: Path, *, design: int | None = None, out: Path | None = None) -> None:
    """Write the machine file of a design, which 'qsim roofline --hw FILE.toml' reads.

    Parameters
    ----------
    directory
        The --out of qsim codesign.
    design
        Number in the column design of front.csv; the answer if not given.
    out
        Directory of the file; the first one if not given.
    """
    from sim.codesign.files import emit as write

    print_line(str(write(directory, design, out)))


@codesign.command
def mix(
    model: str = "embedded",
    *,
    options: MixOptions = MIX,
    json: Flag = False,
) -> None:
    """Find the best formats for each kind of layers within a number of bits per weight.

    Each kind of layers is measured in each format alone; dynamic programming finds the mixes with
    the least sum of divergences; the best of them are measured whole, and the error of the sum is
    printed.

    Parameters
    ----------
    model
        Model of 'qsim models' that can be swept.
    json
        Print one JSON object a mix instead of the table.
    """
    from sim.codesign.mix_command import run_mix
    from sim.codesign.mix_tables import mix_record, mix_table

    found = run_mix(model, options)
    if json:
        print_json(mix_record(one) for one in found.mixes)
        return
    print_wide(mix_table(found))
