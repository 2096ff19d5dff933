"""``qsim sweep`` and ``qsim quantize``."""

from dataclasses import replace

from rich.console import Console

from sim.cli.output import print_line
from sim.cli.words import only_model, without_models
from sim.errors import UserError
from sim.quantized.options import QuantizeOptions
from sim.sweep.options import SweepOptions

RECIPE_SUFFIX = ".toml"


def sweep(*words: str, options: SweepOptions = SweepOptions()) -> None:
    """Measure what storing a model in other number formats does to its predictions.

    Every point is compared with the float32 model on the same windows of text. Finished points are
    kept in results.sqlite under --out: run the same command again and it goes on where it stopped.

    Parameters
    ----------
    words
        A model, as for --model, and a TOML file, as for --recipes.
    """
    from sim.report import print_table, write_report
    from sim.sweep.command import run_sweep

    options = _with_words(options, words)
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    if not options.json:
        console = Console()
        console.print()
        print_table(outcome.results, console)
        print_line(f"\nReport: {options.out / 'report.html'}")


def _with_words(options: SweepOptions, words: tuple[str, ...]) -> SweepOptions:
    """Return options with the model and the recipe file that stand without an option's name."""
    formats, models = without_models(options.formats)
    files = [word for word in (*words, *models) if word.endswith(RECIPE_SUFFIX)]
    models = [word for word in (*words, *models) if word not in files]
    if len(files) + (options.recipes is not None) > 1:
        raise UserError("two recipe files; give one, with the recipes and grids of both")
    if options.bit_true and options.pe is not None:
        raise UserError(f"--bit-true and --pe {options.pe} exclude each other")
    model = only_model(models, options.model, default=SweepOptions().model)
    return replace(
        options,
        formats=formats,
        model=model,
        recipes=_path(files[0]) if files else options.recipes,
    )


def quantize(model: str | None = None, *, options: QuantizeOptions) -> None:
    """Write a model as a packed checkpoint: codes and scales in safetensors, a JSON description.

    Block types of GGUF, such as q4_0 and tq2_0, become a .gguf file in the directory instead. The
    directory is a model for every command, and reads as the very numbers that a sweep of the same
    format computes with.

    Parameters
    ----------
    model
        Model of 'qsim models', a directory, a .gguf file or a hub id.
    """
