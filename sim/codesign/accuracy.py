"""The accuracy table of a model: built in, from CSV files, or from the stores of sweeps."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sim.codesign.accuracy_file import (
    FLOAT,
    ROUND_TO_NEAREST,
    AccuracyRow,
    AccuracyTable,
    about_sample,
    read_accuracy,
)
from sim.errors import UserError, user_errors
from sim.sweep.result import PointResult
from sim.sweep.store import Store

FOLDER = Path(__file__).parent / "accuracy"
STORE = "results.sqlite"
#: Name of a recipe: formats, then a method and a PE.
_ROLES = re.compile(r"(?:^|,)(w|a|kv)=([^\s,]+)")
_PE = re.compile(r" pe=(\S+)$")


def built_in() -> tuple[str, ...]:
    """Return the models with a built-in accuracy table."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.csv")))


def find_accuracy(
    model: str, paths: Sequence[str] = (), *, may_lack: bool = False
) -> AccuracyTable:
    """Return the accuracy table of a model; with ``may_lack``, one without rows if there is none.

    Raises
    ------
    UserError
        There is none, a file is not one, or a store holds points of another model.
    """
    if not paths:
        if model not in built_in():
            if may_lack:
                return AccuracyTable(model=model, rows=(), about={})
            raise UserError(
                f"no accuracy table of {model}; built in are {', '.join(built_in())}; measure with "
                f"'qsim sweep --model {model} --format all --out DIR' and give --accuracy DIR"
            )
        with user_errors(ValueError, OSError):
            return read_accuracy(FOLDER / f"{model}.csv")
    tables = [_from_path(model, Path(path)) for path in paths]
    rows = {_key(row): row for table in tables for row in table.rows}
    about = {key: value for table in tables for key, value in table.about.items()}
    return AccuracyTable(model=model, rows=tuple(rows.values()), about=about)


def _key(row: AccuracyRow) -> tuple[str, ...]:
    return row.weights, row.activations, row.kv, row.head, row.pe, row.method


def _from_path(model: str, path: Path) -> AccuracyTable:
    if path.is_dir():
        if not (path / STORE).is_file():
            raise UserError(f"{path} has no {STORE}; --accuracy takes the --out of a sweep")
        return _from_store(model, path / STORE)
    with user_errors(ValueError, OSError):
        return read_accuracy(path)


def _from_store(model: str, path: Path) -> AccuracyTable:
    points = Store(path).all()
    others = sorted({point.model for point in points if not _is_of(model, point.model)})
    if others:
        raise UserError(f"{path} holds points of {others[0]}, not of {model}")
    samples = {(point.text, point.tokens, point.context) for point in points}
    if len(samples) != 1:
        raise UserError(
            f"{path} holds points on {len(samples)} samples of text, which cannot be compared;"
            " give a directory with one"
        )
    first = points[0]
    about = {
        "command": f"qsim sweep --out {path.parent}",
        "kind": "measured",
        **about_sample(
            first.provenance.get("model_sha256", ""),
            first.text,
            first.provenance.get("text_sha256", ""),
            first.tokens,
            first.sampling,
        ),
    }
    rows = tuple(row for point in points if (row := _row(point)) is not None)
    return AccuracyTable(model=model, rows=rows, about=about)


def _is_of(model: str, name: str) -> bool:
    """Return whether the name of a swept model is that of a model's sizes."""
    return name.lower().startswith(model.lower())


def recipe_key(recipe: str) -> dict[str, str] | None:
    """Return the fields of a row that the name of a recipe gives.

    ``None`` for a recipe that is not one combination of formats for all layers.

    >>> recipe_key("w=int4,a=int8 gptq")
    {'weights': 'int4', 'activations': 'int8', 'kv': 'float32', 'pe': '', 'method': 'gptq'}
    >>> recipe_key("kv=int8")["weights"], recipe_key("fp4 skip=*.down_proj")
    ('float32', None)
    """
    pe = ""
    if match := _PE.search(recipe):
        recipe, pe = recipe[: match.start()], match[1]
    name, _, method = recipe.partition(" ")
    if "skip=" in method or method == "bit-true":
        return None
    roles = dict(_ROLES.findall(name)) or {"w": name}
    return {
        "weights": roles.get("w", FLOAT),
        "activations": roles.get("a", FLOAT),
        "kv": roles.get("kv", FLOAT),
        "pe": pe,
        "method": method or ROUND_TO_NEAREST,
    }


def _row(point: PointResult) -> AccuracyRow | None:
    key = recipe_key(point.recipe)
    if key is None:
        return None
    row = AccuracyRow.of(key["weights"], key["activations"], key["kv"], key["pe"], point)
    return replace(row, method=key["method"])
