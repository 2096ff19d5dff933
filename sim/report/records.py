"""The results of a sweep as CSV, in full precision."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence

from sim.report.ranking import Row, rank
from sim.report.table import value
from sim.sweep.result import COLUMNS, PointResult

#: Fields that say what was measured on what.
SAMPLE = ("model", "recipe", "text", "tokens", "context", "windows", "scored", "vocab_size")
SQNR_FIELDS = ("recipe", "layer", "sqnr_db")


def results_csv(results: Sequence[PointResult], earlier: Sequence[PointResult] = ()) -> str:
    """Return one row a result: every column of the tables, with standard errors."""
    rows = [_record(row) for row in rank(results, earlier)]
    return _csv(rows, list(dict.fromkeys(name for row in rows for name in row)))


def _record(row: Row) -> dict[str, object]:
    point = row.point
    record: dict[str, object] = {name: getattr(point, name) for name in SAMPLE}
    for field, column in COLUMNS.items():
        if field == "sqnr_db":
            record["sqnr_db_median"] = value(point, field)
            record["sqnr_db_min"] = min(point.sqnr_db.values(), default=None)
            continue
        record[field] = getattr(point, field)
        if column.error is not None:
            record[column.error] = getattr(point, column.error)
    if point.second is not None:
        record |= {f"second_{key}": v for key, v in dataclasses.asdict(point.second).items()}
    return record | {
        "model_bytes": point.model_bytes,
        "on_pareto_front": int(row.on_front),
        "tied_with": row.tied_with,
        "from_this_run": int(row.is_new),
    }


def sqnr_csv(results: Sequence[PointResult], earlier: Sequence[PointResult] = ()) -> str:
    """Return the SQNR of every quantized matrix, one a row."""
    rows = [
        {"recipe": row.point.recipe, "layer": layer, "sqnr_db": level}
        for row in rank(results, earlier)
        for layer, level in row.point.sqnr_db.items()
    ]
    return _csv(rows, SQNR_FIELDS)


def _csv(rows: Sequence[Mapping[str, object]], fields: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
