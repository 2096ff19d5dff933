"""A scenario as what the page and the figures draw."""

from collections.abc import Sequence
from math import inf

from matplotlib.figure import Figure

from sim.deployment.bar_figures import curves_figure, stacked_figure
from sim.deployment.page import Cell, Operators
from sim.deployment.roofline_figure import Point, roofline_figure
from sim.deployment.scenario import OperatorPoint, Scenario

MS = 1e3
GB = 1e9
#: Kinds of operators that a stacked bar keeps apart, by the words in their names.
KINDS = {
    "attention": ("attention", "scores", "values", "softmax"),
    "feed-forward": ("gate", "up", "down", "router", "expert", "activation"),
    "projections": ("qkv", "q", "k", "v", "o", "k and v", "q_a", "q_b", "kv_a", "kv_b"),
    "head": ("lm_head", "head", "sampling"),
}
#: Combinations that one figure compares.
MOST_BARS = 12


def cell(one: Scenario) -> Cell:
    """Return what the page shows of a scenario."""
    return Cell(
        summary=_summary(one),
        notes=list(one.notes),
        roofs=one.roofs,
        slope=one.slope,
        points=[
            Operators(
                name=name,
                phase=phase,
                ops=p.ops,
                bytes=p.traffic_bytes,
                time_s=p.time_s,
                bound=p.bound,
            )
            for (name, phase), p in _grouped(one).items()
        ],
        memory=[
            ("weights", one.memory.weight_bytes),
            ("KV cache", one.memory.kv_bytes),
            ("activations", one.memory.activation_bytes),
        ],
        capacity_bytes=one.memory.capacity_bytes if one.memory.capacity_bytes < 1e15 else None,
        tpot_by_context=[(size, time * MS) for size, time in one.tpot_by_context],
        tpot_by_batch=[(size, time * MS) for size, time in one.tpot_by_batch],
    )


def _summary(one: Scenario) -> list[tuple[str, str]]:
    low, high = (time * MS for time in one.tpot_range_s)
    ttft, tpot = ([time * MS for time in times] for times in (one.ttft_s, one.tpot_s))
    joules = (one.energy_per_token_j, *one.energy_range_j)
    tpot_range = f"{low:.3g} to {high:.3g}; bound {tpot[0]:.4g}"
    rows = [
        ("time to the first token", f"{ttft[1]:.4g} ms (bound {ttft[0]:.4g})"),
        ("time per output token", f"{tpot[1]:.4g} ms ({tpot_range})"),
        ("tokens a second while decoding", f"{one.tokens_per_s:.4g}"),
        ("tokens a second of whole requests", f"{one.output_tokens_per_s:.4g}"),
        ("limited by (prefill, decode)", f"{one.prefill_bound}, {one.decode_bound}"),
        ("path of the products", one.path),
        ("weights", f"{one.memory.weight_bytes / GB:.3f} GB"),
        ("KV cache", f"{one.memory.kv_bytes / GB:.3f} GB"),
        ("energy per output token", "{:.3g} J ({:.2g} to {:.2g})".format(*joules)),
        ("of that", _shares(one.energy_j)),
    ]
    if one.memory.capacity_bytes < 1e15:
        rows.append(("largest batch that fits", str(one.largest_batch)))
        tokens = (
            f"{one.equal_context:,.0f} tokens" if one.equal_context < inf else "none, by its window"
        )
        rows.append(("context whose cache equals the weights", tokens))
    if one.cost_usd_per_mtok is not None:
        rows.append(("cost of a million tokens", f"${one.cost_usd_per_mtok:.3g}"))
    return rows


def _shares(parts: dict[str, float]) -> str:
    """Return the parts of a sum in per cent, the largest first, and none below half of one.

    >>> _shares({"compute": 1.0, "memory": 3.0, "static": 0.01})
    'memory 75%, compute 25%'
    """
    whole = sum(parts.values()) or 1.0
    ordered = sorted(parts.items(), key=lambda pair: -pair[1])
    shown = [(name, part / whole) for name, part in ordered if part >= 0.005 * whole]
    return ", ".join(f"{name} {share:.0%}" for name, share in shown)


def _grouped(one: Scenario) -> dict[tuple[str, str], OperatorPoint]:
    """Return products one by one, and everything else of a phase as one entry."""
    found: dict[tuple[str, str], OperatorPoint] = {}
    for point in one.points:
        is_small = not any(point.name.endswith(name) for names in KINDS.values() for name in names)
        is_small = is_small or point.name.endswith("activation") or point.name == "softmax"
        key = ("everything else" if is_small else point.name, point.phase)
        found[key] = _added(found.get(key), point, key[0])
    return found


def _added(first: OperatorPoint | None, second: OperatorPoint, name: str) -> OperatorPoint:
    if first is None:
        return OperatorPoint(
            name=name,
            phase=second.phase,
            ops=second.ops,
            traffic_bytes=second.traffic_bytes,
            time_s=second.time_s,
            bound=second.bound,
            path=second.path,
        )
    longer = first if first.time_s >= second.time_s else second
    return OperatorPoint(
        name=name,
        phase=first.phase,
        ops=first.ops + second.ops,
        traffic_bytes=first.traffic_bytes + second.traffic_bytes,
        time_s=first.time_s + second.time_s,
        bound=longer.bound,
        path=longer.path,
    )


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
    """Return a short name for each: what differs between them."""
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
            parts[_kind(point.name)] += point.time_s * MS
    return parts


def _kind(name: str) -> str:
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
        if one.memory.capacity_bytes < 1e15:
            limits[one.machine] = one.memory.capacity_bytes / GB
    return stacked_figure("Memory against capacity", panels, unit="GB", limits=limits)


def _roofline(one: Scenario) -> Figure:
    points = [
        Point(name=name, phase=phase, ops=p.ops, traffic_bytes=p.traffic_bytes, time_s=p.time_s)
        for (name, phase), p in _grouped(one).items()
    ]
    title = f"{one.model} in {one.format} on {one.machine}"
    return roofline_figure(title, one.roofs, [one.slope], points)
