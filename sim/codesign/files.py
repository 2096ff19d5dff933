"""The files of ``qsim codesign --out``, and one design of them as a machine file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sim.codesign.columns import row
from sim.codesign.command import Codesign
from sim.codesign.machine_file import machine_toml
from sim.codesign.tables import cloud_csv, front_csv, missing_csv
from sim.errors import UserError, user_errors
from sim.provenance import command_line, created, versions
from sim.report.write import replace_files

RESULT = "codesign.json"


def write_codesign(found: Codesign, out: Path) -> list[Path]:
    """Write tables, the record with all machine files, and the page; return their paths."""
    from sim.codesign.page import page

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory")
    record = to_record(found)
    files = {
        "front.csv": front_csv(found.designs),
        "designs.csv": cloud_csv(found.space, found.outcome.cloud),
        "missing.csv": missing_csv(found.missing, found.table.model),
        RESULT: json.dumps(record, indent=1) + "\n",
        "codesign.html": page(found),
    }
    return replace_files(out, {name: text.encode() for name, text in files.items()})


def to_record(found: Codesign) -> dict[str, Any]:
    """Return the answer, the front and their provenance as plain data; units are in the names."""
    return {
        "model": found.space.shape.name,
        "limits": dict(found.limits.given),
        "objective": found.options.objective,
        "context_tokens": found.space.context,
        "answer": row(found.chosen),
        "parts": {
            f"area_{found.space.grid.area_unit.lower()}": found.chosen.areas,
            "energy_j": found.chosen.energy_parts_j,
        },
        "one_step": [asdict(change) for change in found.changes],
        "designs": {"all": found.space.size, "valid": found.outcome.valid,
                    "within_limits": found.outcome.within},
        "front": [row(design) | {"machine": machine_toml(design.machine, design.pair)}
                  for design in found.designs],
        "accuracy": dict(found.table.about),
        "command": command_line(),
        "versions": versions("qsim-codesign", "numpy"),
        "made": created(),
    }  # fmt: skip


def emit(directory: Path, design: int | None, out: Path | None) -> Path:
    """Write the machine file of a design of a result's front, and return its path.

    Raises
    ------
    UserError
        The directory has no result, or its front no such design.
    """
    path = directory / RESULT
    if not path.is_file():
        raise UserError(f"{directory} has no {RESULT}; name the --out of qsim codesign")
    with user_errors(ValueError):
        found = json.loads(path.read_text("utf-8"))
    rows = {int(one["design"]): one for one in found["front"]}
    design = int(found["answer"]["design"]) if design is None else design
    if design not in rows:
        near = min(rows, key=lambda number: abs(number - design))
        raise UserError(
            f"design {design} is not on the front in {directory}; the answer is"
            f" {found['answer']['design']}, the nearest number {near}"
        )
    target = (out or directory) / f"design-{design}.toml"
    replace_files(target.parent, {target.name: rows[design]["machine"].encode()})
    return target
