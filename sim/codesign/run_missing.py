"""``--run-missing``: measure the accuracy points that could change the front, then use them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from sim.codesign.accuracy_file import FLOAT, AccuracyRow, AccuracyTable
from sim.codesign.estimate import estimated_s, time_text
from sim.codesign.missing import Missing
from sim.codesign.needed import Needed
from sim.codesign.options import RunOptions
from sim.codesign.sample import OpenSample, Sample, sample_of
from sim.errors import UserError
from sim.sweep.crew import LocalCrew
from sim.sweep.progress import ProgressObserver, WorkerObserver
from sim.sweep.recipe import FLOAT32, Recipe, plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.result import PointResult


def open_sample(table: AccuracyTable, model: str, options: RunOptions) -> OpenSample:
    """Return the sample to measure on: that of the table, if it has rows."""
    name = options.weights or model
    if table.rows:
        return sample_of(table.about, name, options.text)
    return Sample(model=name, text=options.text, spread=options.text is not None).open()


def measure(
    table: AccuracyTable, found: Sequence[Needed], sample: OpenSample, options: RunOptions
) -> AccuracyTable:
    """Return a table with the rows of needed points, measured now or found in the store.

    Prints, before it starts, the points and about how long they take.
    """
    points, refused = _suitable([one.point for one in found], sample)
    recipes = {_recipe(point): point for point in points}
    if not recipes:
        _say("no accuracy point that can be measured could change the front")
        return table
    sweep = sample.sweep(tuple(recipes), options.points)
    waiting = [one.recipe for one in sweep.missing() if one.recipe != FLOAT32]
    stored = len(recipes) - len(waiting)
    plural = "s" if len(recipes) > 1 else ""
    counted = f"{len(recipes)} accuracy point{plural} could change the front"
    counted += f", {stored} of them in {options.points} already" if stored else ""
    if waiting:
        about = time_text(estimated_s(sweep, waiting))
        names = ", ".join(recipe.name for recipe in waiting)
        counted += f"; measuring {len(waiting)} into {options.points}, about {about}: {names}"
    _say(counted)
    if refused:
        _say(f"left out: {'; '.join(refused)}")
    crew = None
    if options.workers > 1:
        prepare = partial(_prepare, sample.name, tuple(points), options.points)
        crew = LocalCrew(prepare, options.workers)
    with ProgressObserver(Console(stderr=True), as_json=False) as observer:
        results = sweep.run(observer, crew)
    return _with_rows(table, dict(zip((FLOAT32, *recipes), results, strict=True)), recipes, sample)


def _prepare(
    sample: Sample,
    points: tuple[Missing, ...],
    directory: Path,
    advance: Callable[[float], None],
    /,
) -> Callable[[str], PointResult]:
    """Open the model in a worker; return the function that measures the point of a key."""
    sweep = sample.open().sweep(tuple(_recipe(point) for point in points), directory)
    return sweep.measurer(WorkerObserver(advance))


def _recipe(point: Missing) -> Recipe:
    kv = None if point.kv == FLOAT else point.kv
    return make_recipe(point.weights, point.activations, kv, pe=point.pe or None)


def _suitable(points: Iterable[Missing], sample: OpenSample) -> tuple[list[Missing], list[str]]:
    """Return the points that suit the model's layers, and reasons against the others."""
    kept, refused = [], []
    for point in points:
        try:
            plan(_recipe(point), sample.source.config)
        except UserError as error:
            refused.append(f"{point.weights}, {error}")
        else:
            kept.append(point)
    return kept, refused


def _with_rows(
    table: AccuracyTable,
    results: dict[Recipe, PointResult],
    points: dict[Recipe, Missing],
    sample: OpenSample,
) -> AccuracyTable:
    """Return a table with the rows of measured points; those it has stay."""
    rows = [
        AccuracyRow.of(p.weights, p.activations, p.kv, p.pe, results[recipe])
        for recipe, p in points.items()
    ]
    if not table.rows:
        rows = [AccuracyRow.of(None, None, None, None, results[FLOAT32]), *rows]
    about = dict(table.about) or {"kind": "measured", **sample.about}
    about["added"] = f"{len(points)} points by --run-missing"
    return replace(table, rows=(*table.rows, *rows), about=about)


def _say(line: str) -> None:
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
