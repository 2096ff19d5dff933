"""The figures of a report: roofline, time by kind of operator, memory, and time per token."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from sim.deployment.bar_figures import curves_figure, stacked_figure
from sim.deployment.cells import GB, KINDS, MS, ONLINE, ONLINE_WORDS, grouped
from sim.deployment.roofline_figure import Point, roofline_figure
from sim.deployment.scenario import Scenario

#: Most scenarios that one figure compares.
MOST_BARS = 12


def figures(scenarios: Sequence[Scenario]) -> dict[str, Figure]:
    """Return the figures of some scenarios by the names of their files."""
    first = next(one for one in scenarios if one.fits)
    shown = list(scenarios[:MOST_BARS])
    names = _names(shown)
    bars = {
        phase: {name: _by_kind(one, phase) for name, one in zip(names, shown, strict=True)}
        for phase in ("prefill", "decode")
    }
    return {
        "roofline": _roofline(first),
        "time": stacked_figure("Where the time goes", bars, unit="milliseconds of one step"),
        "memory": _memory(shown, names),
        "tpot": curves_figure(
            "Time per output token",
            {
                "context (tokens)": _curves(names, [one.tpot_by_context for one in shown]),
                "batch": _curves(names, [one.tpot_by_batch for one in shown]),
            },
            unit="milliseconds",
        ),
    }


def _names(scenarios: Sequence[Scenario]) -> list[str]:
    """Return a short name for each scenario, of the words that differ between them."""
    columns = [[getattr(one, key) for one in scenarios] for key in ("model", "machine", "format")]
    varying = [column for column in columns if len(set(column)) > 1] or [columns[2]]
    return [", ".join(words) for words in zip(*varying, strict=True)]


def _curves(
    names: Sequence[str], curves: Sequence[Sequence[tuple[int, float]]]
) -> dict[str, tuple[list[float], list[float]]]:
    return {
        name: ([float(size) for size, _ in points], [time * MS for _, time in points])
        for name, points in zip(names, curves, strict=True)
    }


def _by_kind(one: Scenario, phase: str) -> dict[str, float]:
    parts = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for point in one.points:
        if point.phase == phase:
            kind = _kind(point.name)
            parts[kind] = parts.get(kind, 0.0) + point.time_s * MS
    return parts


def _kind(name: str) -> str:
    if name.endswith(ONLINE_WORDS):
        return ONLINE
    for kind, words in KINDS.items():
        if name in words or any(len(word) > 1 and word in name.split() for word in words):
            return kind if "norm" not in name and "add" not in name.split() else "everything else"
    return "everything else"


def _memory(scenarios: Sequence[Scenario], names: Sequence[str]) -> Figure:
    panels: dict[str, dict[str, dict[str, float]]] = {}
    limits: dict[str, float] = {}
    for name, one in zip(names, scenarios, strict=True):
        parts = {
            "weights": one.memory.weight_bytes / GB,
            "KV cache": one.memory.kv_bytes / GB,
            "activations": one.memory.activation_bytes / GB,
        }
        panels.setdefault(one.machine, {})[name] = parts
        if one.capacity_bytes is not None:
            limits[one.machine] = one.capacity_bytes / GB
    return stacked_figure("Memory against capacity", panels, unit="GB", limits=limits)


def _roofline(one: Scenario) -> Figure:
    points = [
        Point(name=name, phase=phase, ops=p.ops, traffic_bytes=p.traffic_bytes, time_s=p.time_s)
        for (name, phase), p in grouped(one).items()
    ]
    title = f"{one.model} in {one.format} on {one.machine}"
    return roofline_figure(title, one.roofs, [one.slope], points)
