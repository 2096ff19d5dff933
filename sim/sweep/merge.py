"""``qsim merge`` without its output: the stores of several sweeps joined into one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import UserError
from sim.sweep.command import SweepOutcome, outcome_of_points
from sim.sweep.network import refuse_network
from sim.sweep.store import FILE, Row, Store, read_rows

#: Fields that may differ between machines and commands: the speed of the simulation and names.
FREE = {"tokens_per_s", "wall_s", "model", "recipe", "text"}
#: Longest value in a message, in characters.
LONGEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The joined store."""

    points: int
    stores: int
    #: Points for a report; ``None`` if the store holds several models or samples of text.
    outcome: SweepOutcome | None


def merge(directories: Sequence[Path], out: Path) -> Merged:
    """Join the stores of directories into that of ``out``; its own points stay.

    Everything is read and compared before anything is written, in one transaction. Raises
    UserError for a directory without a store, a store of another version, and a key with two
    different results.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory")
    refuse_network(out)
    sources = list(dict.fromkeys(path.resolve() for path in (out, *directories)))
    if not (out / FILE).is_file():
        sources.remove(out.resolve())
    joined: dict[str, tuple[Row, Path]] = {}
    for directory in sources:
        file = directory / FILE
        if not file.is_file():
            raise UserError(f"{directory} has no {FILE}; give directories that qsim sweep wrote")
        for row in read_rows(file):
            joined[row.key] = _joined(joined.get(row.key), row, directory)
    out.mkdir(parents=True, exist_ok=True)
    store = Store(out / FILE)
    rows = [row for row, _ in joined.values()]
    store.replace(rows)
    samples = {row.sample for row in rows}
    outcome = outcome_of_points(store.all()) if len(samples) == 1 else None
    return Merged(points=len(rows), stores=len(sources), outcome=outcome)


def _joined(known: tuple[Row, Path] | None, row: Row, place: Path) -> tuple[Row, Path]:
    """Return the row to keep of two with the same key; raise UserError if their results differ."""
    if known is None:
        return row, place
    old, new = json.loads(known[0].result), json.loads(row.result)
    fields = [name for name in old | new if name not in FREE and old.get(name) != new.get(name)]
    # Whether a point has a second text depends on the other recipes of its sweep.
    if fields == ["second"] and None in (old.get("second"), new.get("second")):
        return known if new.get("second") is None else (row, place)
    if fields:
        # A number of the whole point says more than one of a window or a matrix.
        name = min(fields, key=lambda field: isinstance(old.get(field), list | dict))
        more = f"; {len(fields)} fields differ" if len(fields) > 1 else ""
        raise UserError(
            f"point {row.recipe} (key {row.key[:12]}) has {name} {_short(old.get(name))} in "
            f"{known[1]} and {_short(new.get(name))} in {place}{more}; equal keys must have equal "
            f"results: measure it again in one of them, or leave one out"
        )
    return known


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
