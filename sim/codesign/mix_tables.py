"""Mixes of formats for the terminal and as plain data."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sim.codesign.mix_command import MeasuredMix, Mixes
from sim.sweep.result import PointResult
from sim.tables import FittingTable, numbers, words


def mix_record(found: MeasuredMix) -> dict[str, Any]:
    """Return a mix as plain data; units are in the names."""
    point = found.point
    return {
        "formats": found.formats,
        "bits_per_weight": point.bits_per_weight,
        "kl_nats": point.kl_mean,
        "kl_se": point.kl_mean_se,
        "kl_sum_of_parts": found.predicted,
        "additive_error": found.additive_error,
        "loss_nats": point.delta_nats,
    }


def mix_table(found: Mixes) -> RenderableType:
    """Return the best mixes, and the formats alone."""
    columns = (
        *words("formats"),
        *numbers("bits/weight", "KL measured", "± SE", "KL of parts", "additive error"),
    )
    rows = [
        (
            _formats(one),
            *_measured(one.point),
            f"{one.predicted:.4f}",
            f"{one.additive_error:+.4f}",
        )
        for one in found.mixes
    ]
    rows += [(point.recipe, *_measured(point), "", "") for point in found.uniform]
    return Group(
        FittingTable(columns, rows),
        Text(
            "KL in nats, measured on whole mixes; the sum of parts measured alone is a model, and"
            " the additive error what it misses."
        ),
    )


def _formats(found: MeasuredMix) -> str:
    return " ".join(f"{kind.split('.')[-1]}={fmt}" for kind, fmt in found.formats.items())


def _measured(point: PointResult) -> tuple[str, str, str]:
    error = "" if point.kl_mean_se is None else f"{point.kl_mean_se:.4f}"
    return f"{point.bits_per_weight:.3f}", f"{point.kl_mean:.4f}", error
