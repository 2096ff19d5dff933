"""The results of a sweep as CSV, in full precision."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence

from sim.report.pareto import best
from sim.report.table import by_loss
from sim.sweep.result import PointResult

SQNR_FIELDS = ("recipe", "layer", "sqnr_db")


def results_csv(results: Sequence[PointResult]) -> str:
    """Return one row a result, SQNR by its median and its worst layer."""
    front = best(results)
    rows = [_record(point, on_front=point in front) for point in by_loss(results)]
    return _csv(rows, list(rows[0]))


def _record(point: PointResult, *, on_front: bool) -> dict[str, object]:
    values = point.sqnr_db.values()
    return {
        "model": point.model,
        "recipe": point.recipe,
        "text": point.text,
        "tokens": point.tokens,
        "context": point.context,
        "scored": point.scored,
        "perplexity": point.perplexity,
        "delta_nats": point.delta_nats,
        "delta_nats_se": point.delta_nats_se,
        "kl_mean": point.kl_mean,
        "kl_p99": point.kl_p99,
        "top1_agreement": point.top1_agreement,
        "bits_per_weight": point.bits_per_weight,
        "model_bytes": point.model_bytes,
        "sqnr_db_median": statistics.median(values) if values else None,
        "sqnr_db_min": min(values, default=None),
        "on_pareto_front": int(on_front),
        "tokens_per_s": point.tokens_per_s,
        "wall_s": point.wall_s,
    }


def sqnr_csv(results: Sequence[PointResult]) -> str:
    """Return the SQNR of every quantized matrix, one a row."""
    rows = [
        {"recipe": p.recipe, "layer": layer, "sqnr_db": value}
        for p in by_loss(results)
        for layer, value in p.sqnr_db.items()
    ]
    return _csv(rows, SQNR_FIELDS)


def _csv(rows: Sequence[Mapping[str, object]], fields: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
