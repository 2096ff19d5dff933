"""``qsim sweep`` without its output: options to recipes, recipes to measured points."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from numerics import CATALOG
from sim.calibration.options import BUILT_IN, CalibrationOptions
from sim.calibration.spool import parse_bytes
from sim.errors import UserError, os_error_text
from sim.model.tensors import linear_names
from sim.names.meaning import FLOAT
from sim.provenance import ReportProvenance, command_line, created, machine, versions
from sim.sources.catalog import open_model, stored_model
from sim.sources.dither import DitheredSource
from sim.sources.source import ModelSource, StoredModel
from sim.sweep.calibration_texts import read_calibration, read_second
from sim.sweep.checkpoint import (
    asked_rules,
    check_same_model,
    checkpoint_names,
    checkpoint_recipe,
    open_checkpoint_point,
)
from sim.sweep.crew import Crew, LocalCrew
from sim.sweep.definition import definition
from sim.sweep.distinct import distinct
from sim.sweep.engine import Observer, Sweep
from sim.sweep.on_dask import DaskCrew, local_directory, parse_on
from sim.sweep.options import SweepOptions
from sim.sweep.progress import ProgressObserver, WorkerObserver
from sim.sweep.recipe import FLOAT32, Recipe, plan
from sim.sweep.recipe_file import make_recipe, read_recipes
from sim.sweep.result import PointResult
from sim.sweep.scored import scored_text
from sim.sweep.shard import parse_shard

PACKAGES = ("qsim-codesign", "jax", "numpy", "ml_dtypes", "tokenizers", "gguf", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """The points of a sweep, and the provenance to reproduce them."""

    results: list[PointResult]
    #: Points of earlier runs in the store, on the same model and windows of text.
    earlier: list[PointResult]
    provenance: ReportProvenance


def run_sweep(options: SweepOptions, calibration: CalibrationOptions = BUILT_IN) -> SweepOutcome:
    """Measure every recipe of the options and return the points; progress goes to stderr."""
    sweep, refused = make_sweep(options, calibration)
    if refused:
        line = f"left out: {'; '.join(refused)}"
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    crew = _crew(options, calibration, sweep)
    with ProgressObserver(Console(stderr=True), as_json=options.json) as observer:
        results = _run(sweep, observer, crew)
    hashes = {"model": sweep.source.content_hash, "text": sweep.text.sha256}
    provenance = make_provenance(hashes, seed=options.noise_seed)
    points = distinct([*results, *([] if options.only else sweep.earlier())])
    count = len(results)
    return SweepOutcome(results=points[:count], earlier=points[count:], provenance=provenance)


def _run(sweep: Sweep, observer: Observer, crew: Crew | None) -> list[PointResult]:
    """Run a sweep; an error of the system that names no file is one of the output directory."""
    try:
        return sweep.run(observer, crew)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise UserError(os_error_text(error, sweep.directory)) from None


def make_sweep(options: SweepOptions, calibration: CalibrationOptions) -> tuple[Sweep, list[str]]:
    """Return the sweep of the options, and reasons against formats that it leaves out."""
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file; name a directory")
    if options.on is not None and options.workers > 1:
        raise UserError(
            f"--on {options.on} and --workers {options.workers} exclude each other; the cluster has"
            " its own workers"
        )
    if options.on is not None:
        parse_on(options.on)
    shard = None if options.shard is None else parse_shard(options.shard)
    # What is asked is read before the model, which can be large.
    asked = collect_recipes(options) if _asks(options) else None
    source = open_source(options)
    refused: list[str] = []
    opened = [open_checkpoint_point(spec) for spec in options.checkpoints]
    recipes = _with_checkpoints(options, asked, source, opened)
    if "all" in options.formats:
        recipes, refused = fitting(recipes, source, kept=options.formats)
    text, windows = scored_text(
        options.text,
        source,
        tokens=options.tokens,
        context=options.context,
        spread=options.spread,
    )
    for checkpoint in opened:
        check_same_model(checkpoint, source, text, windows, options.spread)
    sweep = Sweep(
        source=source,
        text=text,
        windows=windows,
        recipes=recipes,
        directory=options.out,
        calibration=read_calibration(calibration, source, recipes),
        second=read_second(calibration, source, text, options.context, recipes),
        memory_bytes=math.inf if options.memory is None else parse_bytes(options.memory),
        shard=shard,
        checkpoints={checkpoint.content_hash: checkpoint for checkpoint in opened},
    )
    return sweep, refused


def _crew(options: SweepOptions, calibration: CalibrationOptions, sweep: Sweep) -> Crew | None:
    """Return the processes that measure; ``None`` if this one does."""
    if options.on is not None:
        prepare = partial(prepare_remote, *_with_whole_paths(options, calibration))
        return DaskCrew(prepare, parse_on(options.on), sweep.tokens_per_point)
    if options.workers == 1:
        return None
    return LocalCrew(partial(prepare_worker, options, calibration), options.workers)


def _with_whole_paths(
    options: SweepOptions, calibration: CalibrationOptions
) -> tuple[SweepOptions, CalibrationOptions]:
    """Return options with absolute paths, for processes in another directory."""

    def whole(path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().resolve()

    model = Path(options.model).expanduser()
    return (
        replace(
            options,
            model=str(model.resolve()) if options.model and model.exists() else options.model,
            recipes=whole(options.recipes),
            text=whole(options.text),
        ),
        replace(
            calibration,
            calibration=whole(calibration.calibration),
            second_text=whole(calibration.second_text),
        ),
    )


def prepare_worker(
    options: SweepOptions, calibration: CalibrationOptions, advance: Callable[[float], None], /
) -> Callable[[str], PointResult]:
    """Open the model in a worker; return the function that measures the point of a key."""
    sweep, _ = make_sweep(options, calibration)
    share = replace(sweep, memory_bytes=sweep.memory_bytes / options.workers)
    return share.measurer(WorkerObserver(advance))


def prepare_remote(
    options: SweepOptions, calibration: CalibrationOptions, advance: Callable[[float], None], /
) -> Callable[[str], PointResult]:
    """Open the model in a dask worker; return the function that measures the point of a key."""
    return prepare_worker(replace(options, out=local_directory()), calibration, advance)


def outcome_of_points(points: Sequence[PointResult]) -> SweepOutcome:
    """Return the outcome of stored points of one model and sample, the float model's first."""
    ordered = sorted(points, key=lambda point: point.definition != definition(FLOAT32))
    hashes = {
        name: ordered[0].provenance[f"{name}_sha256"]
        for name in ("model", "text")
        if f"{name}_sha256" in ordered[0].provenance
    }
    return SweepOutcome(
        results=distinct(ordered), earlier=[], provenance=make_provenance(hashes, seed=None)
    )


def _asks(options: SweepOptions) -> bool:
    """Return whether the options name what to quantize, apart from checkpoints."""
    return bool(options.formats or options.recipes or options.activations or options.kv)


def _with_checkpoints(
    options: SweepOptions,
    asked: tuple[Recipe, ...] | None,
    source: ModelSource,
    opened: Sequence[StoredModel],
) -> tuple[Recipe, ...]:
    """Return the recipes that are asked for, behind those of checkpoints.

    If nothing else is asked of a quantized checkpoint as the model itself, its own activations and
    KV cache are the recipe.
    """
    names = checkpoint_names(options.checkpoints)
    points = [checkpoint_recipe(one, name) for one, name in zip(opened, names, strict=True)]
    if asked is not None:
        return (*points, *asked)
    stored = stored_model(source)
    is_quantized = stored is not None and any(
        stored.is_quantized(f"{name}.weight") for name in linear_names(source.config)
    )
    if points or not is_quantized:
        return tuple(points) or collect_recipes(options)
    rules = asked_rules(source)
    return (Recipe(name="its activations", rules=rules),) if rules else (FLOAT32,)


def collect_recipes(options: SweepOptions) -> tuple[Recipe, ...]:
    """Return the recipes of --format and of the recipe file."""
    recipes: list[Recipe] = []
    if options.recipes is not None:
        recipes += read_recipes(options.recipes, skip=options.skip, pe=options.product)
    formats: Sequence[str | None] = _expand(options.formats)
    if options.methods and all(name in FLOAT for name in formats):
        raise UserError(
            f"--method {','.join(options.methods)} is for the weights of --format; add --format "
            f'int4, or in a recipe file write method = "gptq"'
        )
    if not formats and (options.activations or options.kv):
        formats = [None]
    recipes += [
        make_recipe(
            name,
            options.activations,
            options.kv,
            group_size=options.group_size if _has_free_group(name, options) else None,
            skip=options.skip,
            pe=options.product,
            method=method,
        )
        for name in formats
        for method in options.methods or (None,)
    ]
    if not recipes:
        raise UserError(
            "nothing to sweep; give --format fp4 (repeat it for more, or say all), "
            "--activations, --kv, --checkpoint or a recipe file"
        )
    if options.group_size is not None and all(n in FLOAT for n in formats):
        raise UserError(
            f"--group-size {options.group_size} is for the weights of --format; add --format int4, "
            f'or in a recipe file write weights = "int4:g{options.group_size}"'
        )
    return tuple(recipes)


def _expand(formats: Sequence[str]) -> list[str]:
    expanded: list[str] = []
    for name in formats:
        expanded += CATALOG if name == "all" else [name]
    return expanded


def fitting(
    recipes: Sequence[Recipe], source: ModelSource, *, kept: Sequence[str]
) -> tuple[tuple[Recipe, ...], list[str]]:
    """Return the recipes of --format all that suit the layers' sizes, and reasons against others.

    Recipes named in ``kept`` are always returned. Raises :class:`UserError` if none is left.
    """
    fit, refused = [], {}
    for recipe in recipes:
        try:
            if recipe.name not in kept:
                plan(recipe, source.config)
            fit.append(recipe)
        except UserError as error:
            refused[recipe.name] = error
    if not fit:
        raise next(iter(refused.values()))
    return tuple(fit), [f"{name}, {error}" for name, error in refused.items()]


def _has_free_group(name: str | None, options: SweepOptions) -> bool:
    """Return whether --group-size applies to a format of --format all: one without a size."""
    if "all" not in options.formats or name not in CATALOG:
        return True
    return not CATALOG[name].is_fixed


def open_source(options: SweepOptions) -> ModelSource:
    """Open the model, with noise on its grid if asked."""
    source = open_model(options.model)
    return source if options.noise_seed is None else DitheredSource(source, options.noise_seed)


def make_provenance(hashes: Mapping[str, str], *, seed: int | None) -> ReportProvenance:
    """Return what is needed to reproduce the report."""
    return ReportProvenance(
        command=command_line(),
        versions=versions(*PACKAGES),
        hashes=hashes,
        seed=seed,
        machine=machine(),
        created=created(),
    )
