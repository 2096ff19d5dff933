"""A scenario as the cell of a page: rows for people, and grouped operators."""

from typing import Any

from roofline.workload.online import FACTOR, HADAMARD
from sim.deployment.page import Cell, Operators
from sim.deployment.scenario import OperatorPoint, Scenario

MS = 1e3
GB = 1e9
#: Kinds of operators in a stacked bar, by words in operators' names.
KINDS = {
    "attention": ("attention", "scores", "values", "softmax"),
    "feed-forward": ("gate", "up", "down", "router", "expert", "activation"),
    "projections": ("qkv", "q", "k", "v", "o", "k and v", "q_a", "q_b", "kv_a", "kv_b"),
    "head": ("lm_head", "head", "sampling"),
}
#: Kind of the operators that a method adds, and the last words of their names.
ONLINE = "run-time work of the method"
ONLINE_WORDS = (HADAMARD, FACTOR)
#: Entries of a record's energy that are not components.
ENERGY_SUMS = ("nominal", "low", "high")


def cell(one: Scenario) -> Cell:
    """Return the cell of a page for one scenario."""
    record = one.to_record()
    return Cell(
        summary=_summary(record),
        notes=record["notes"],
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
            for (name, phase), p in grouped(one).items()
        ],
        memory=[
            ("weights", record["weight_bytes"]),
            ("KV cache", record["kv_bytes"]),
            ("activations", record["activation_bytes"]),
        ],
        capacity_bytes=record["capacity_bytes"],
        tpot_by_context=[(size, time * MS) for size, time in one.tpot_by_context],
        tpot_by_batch=[(size, time * MS) for size, time in one.tpot_by_batch],
    )


def _summary(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows of name and value for people."""
    ttft, tpot = ({k: v * MS for k, v in record[name].items()} for name in ("ttft_s", "tpot_s"))
    tpot_range = f"{tpot['low']:.3g} to {tpot['high']:.3g}; bound {tpot['bound']:.4g}"
    limit, energy = record["limit"], record["energy_per_token_j"]
    parts = {name: part for name, part in energy.items() if name not in ENERGY_SUMS}
    rows = [
        ("time to the first token", f"{ttft['expected']:.4g} ms (bound {ttft['bound']:.4g})"),
        ("time per output token", f"{tpot['expected']:.4g} ms ({tpot_range})"),
        ("tokens a second while decoding", f"{record['decode_tokens_per_s']:.4g}"),
        ("tokens a second of whole requests", f"{record['output_tokens_per_s']:.4g}"),
        ("limited by (prefill, decode)", f"{limit['prefill']}, {limit['decode']}"),
        ("path of matrix products", record["path"]),
        ("weights", f"{record['weight_bytes'] / GB:.3f} GB"),
        ("KV cache", f"{record['kv_bytes'] / GB:.3f} GB"),
        (
            "energy per output token",
            "{nominal:.3g} J ({low:.2g} to {high:.2g})".format_map(energy),
        ),
        ("energy by component", _shares(parts)),
    ]
    if record["capacity_bytes"] is not None:
        tokens = record["equal_context_tokens"]
        equal = "none, by its window" if tokens is None else f"{tokens:,.0f} tokens"
        rows.append(("largest batch that fits", str(record["largest_batch"])))
        rows.append(("context whose cache equals the weights", equal))
    if record["cost_usd_per_mtok"] is not None:
        rows.append(("cost of a million tokens", f"${record['cost_usd_per_mtok']:.3g}"))
    return rows


def _shares(parts: dict[str, float]) -> str:
    """Return the parts of a sum in percent, the largest first, without parts below 0.5 %.

    >>> _shares({"compute": 1.0, "memory": 3.0, "static": 0.01})
    'memory 75%, compute 25%'
    """
    whole = sum(parts.values()) or 1.0
    ordered = sorted(parts.items(), key=lambda pair: -pair[1])
    shown = [(name, part / whole) for name, part in ordered if part >= 0.005 * whole]
    return ", ".join(f"{name} {share:.0%}" for name, share in shown)


def grouped(one: Scenario) -> dict[tuple[str, str], OperatorPoint]:
    """Return GEMMs and attention one by one, and the rest of a phase as one entry."""
    found: dict[tuple[str, str], OperatorPoint] = {}
    for point in one.points:
        is_small = not any(point.name.endswith(name) for names in KINDS.values() for name in names)
        is_small = is_small or point.name.endswith("activation") or point.name == "softmax"
        is_small = is_small and not point.name.endswith(ONLINE_WORDS)
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
