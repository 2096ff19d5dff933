"""Which results nothing else beats, and which kind of format each one is."""

import statistics
from collections.abc import Sequence

from sim.report.table import by_loss
from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult

#: Family of a format by the start of its name.
FAMILIES = {
    "INT": ("int",),
    "MX": ("mx",),
    "NVFP4": ("nvfp4",),
    "FP": ("fp", "e2m", "e3m", "e4m", "e5m"),
    "NF4": ("nf",),
    "ternary": ("ternary",),
    "float32 weights": ("float32",),
}
OTHER = "other"
#: An SQNR that only rounding in float32 explains.
EXACT_DB = 100.0


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, loss) that no other point beats, cheapest first.

    A point is beaten by one that is as good in both and better in one.

    Examples
    --------
    >>> pareto_front([(4.0, 0.2), (8.0, 0.0), (4.5, 0.3), (4.0, 0.1)])
    [3, 1]
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


def weight_format(recipe: str) -> str:
    """Return the weight format that a recipe is named after, without its group and the like."""
    bare = recipe.split(" ")[0]
    parts = dict(part.split("=", 1) for part in bare.split(",") if "=" in part)
    return (parts.get("w", "float32") if parts else bare).split(":")[0]


def quantizes_inputs(recipe: str) -> bool:
    """Whether activations or cache are quantized, by the recipe's name."""
    return any(part.startswith(("a=", "kv=")) for part in recipe.split(","))


def family(recipe: str) -> str:
    """Return the family of a recipe's weight format."""
    name = weight_format(recipe)
    return next((kind for kind, starts in FAMILIES.items() if name.startswith(starts)), OTHER)


def holds_source_grid(point: PointResult) -> bool:
    """Whether the format reproduces the weights, which says something of their source alone."""
    return bool(point.sqnr_db) and statistics.median(point.sqnr_db.values()) > EXACT_DB


def headline(results: Sequence[PointResult]) -> str:
    """Say in one sentence what the results show."""
    compared = [p for p in by_loss(results) if p.recipe != FLOAT32.name]
    points = [p for p in compared if not holds_source_grid(p)] or compared
    if not points:
        return f"The float32 model has perplexity {results[0].perplexity:,.4g}; nothing to compare."
    if len(points) == 1:
        return _describe(points[0])
    within = [p for p in points if p.delta_nats < 0.02]
    if within:
        best = min(within, key=lambda p: (p.bits_per_weight, p.delta_nats))
        return f"The fewest bits within 0.02 nats of float32: {_describe(best)}"
    return f"No format stays within 0.02 nats of float32; the nearest: {_describe(points[0])}"


def _describe(point: PointResult) -> str:
    error = "" if point.delta_nats_se is None else f" ± {point.delta_nats_se:.4f}"
    return (
        f"{point.recipe} costs {point.delta_nats:+.4f}{error} nats "
        f"at {point.bits_per_weight:.3g} bits per weight, and keeps the likeliest token in "
        f"{100 * point.top1_agreement:.1f} % of positions."
    )
