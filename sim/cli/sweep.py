"""``qsim sweep``."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from sim.calibration.options import BUILT_IN, CalibrationOptions
from sim.cli.output import print_line
from sim.cli.words import only_model, without_models
from sim.errors import UserError
from sim.sweep.options import SweepOptions

RECIPE_SUFFIX = ".toml"
DEFAULT = SweepOptions()


def sweep(
    *words: str, options: SweepOptions = DEFAULT, calibration: CalibrationOptions = BUILT_IN
) -> None:
    """Measure what storing a model in other number formats does to its predictions.

    Every point is compared with the float32 model on the same windows of text. Finished points are
    kept in results.sqlite under --out: run the same command again and it goes on where it stopped.
    Several processes measure with --workers; several machines with --shard and 'qsim merge', as in
    a job array of SLURM, or with --on.

    Parameters
    ----------
    words
        A model, as for --model, and a recipe file, as for --recipes.
    """
    options = _with_words(options, words)
    from sim.report import print_table, write_report
    from sim.sweep.command import run_sweep

    outcome = run_sweep(options, calibration)
    if options.shard is not None:
        if not options.json:
            count = len(outcome.results)
            points = f"{count} point{'s' if count != 1 else ''}"
            print_line(f"shard {options.shard}: {points} in {options.out}; join with qsim merge")
        return
    write_report(
        outcome.results, options.out, provenance=outcome.provenance, earlier=outcome.earlier
    )
    if not options.json:
        console = Console()
        console.print()
        print_table(outcome.results, console, outcome.earlier)
        print_line(f"\nReport: {options.out / 'report.html'}")


def _with_words(options: SweepOptions, words: tuple[str, ...]) -> SweepOptions:
    """Return options with the model and the recipe file given as positional words."""
    if options.bit_true and options.pe is not None:
        raise UserError(f"--bit-true and --pe {options.pe} exclude each other; give one")
    formats, others = without_models(options.formats)
    named = (*words, *others)
    models = [word for word in named if not word.endswith(RECIPE_SUFFIX)]
    files = [Path(word) for word in named if word.endswith(RECIPE_SUFFIX)]
    files += [options.recipes] if options.recipes is not None else []
    if len(files) > 1:
        raise UserError(
            f"{len(files)} recipe files; give one, which may hold any number of recipes"
        )
    return replace(
        options,
        formats=formats,
        model=only_model(models, options.model, default=DEFAULT.model),
        recipes=files[0] if files else None,
    )
