"""Scenarios as a table: one line for each, the deciding columns first, those that fit."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sim.deployment.scenario import Scenario
from sim.tables import FittingTable, numbers, words

MS = 1e3
GB = 1e9
#: Names of a combination: what is after the comma in a format's name is a column of its own.
NAMES = ("model", "machine", "format", "with")
#: Columns of numbers, the deciding ones first; the bound stands in brackets.
HEADINGS = (
    "TPOT ms (bound)", "TTFT ms (bound)", "tokens/s", "limit", "batch fits", "weights GB", "KV GB",
    "of GB", "J/token", "$/Mtok",
)  # fmt: skip


def scenarios_table(scenarios: Sequence[Scenario]) -> RenderableType:
    """Return one line for each combination, the fastest first and those that do not fit last.

    Names that all combinations share stand above the table.
    """
    ordered = sorted(scenarios, key=lambda one: (not one.fits, -one.tokens_per_s))
    names, shared = _names(ordered)
    rows = [(*own, *_cells(one.to_record())) for own, one in zip(names[1], ordered, strict=True)]
    table = FittingTable(
        (*words(*names[0]), *numbers(*HEADINGS)), rows, see="A file and --json have them all."
    )
    notes = dict.fromkeys(
        f"{one.model} on {one.machine} in {one.format}: {note}" if "fit" in note else note
        for one in ordered
        for note in one.notes
    )
    request = ordered[0].request
    load = f"batch {request.batch}, prompt {request.prompt}, answer {request.output} tokens"
    head = Text("; ".join([*shared, load]))
    return Group(head, table, *(Text(f"note: {note}") for note in notes))


def _names(
    ordered: Sequence[Scenario],
) -> tuple[tuple[list[str], list[tuple[str, ...]]], list[str]]:
    """Return headings and cells of the names that differ, and the words that are all alike.

    A format's activations and cache are words of their own, after its first comma.
    """
    split = [(one.model, one.machine, *_format(one.format)) for one in ordered]
    columns = list(zip(*split, strict=True))
    shared = [column[0] for column in columns if len(set(column)) == 1 and column[0]]
    kept = [index for index, column in enumerate(columns) if len(set(column)) > 1] or [2]
    headings = [NAMES[index] for index in kept]
    if kept == [2]:
        shared = [word for word in shared if word != columns[2][0]]
    return (headings, [tuple(row[index] for index in kept) for row in split]), shared


def _format(name: str) -> tuple[str, str]:
    first, _, rest = name.partition(", ")
    return first, rest


def _cells(record: dict[str, Any]) -> list[str]:
    ttft, tpot = ({k: v * MS for k, v in record[name].items()} for name in ("ttft_s", "tpot_s"))
    capacity, cost = record["capacity_bytes"], record["cost_usd_per_mtok"]
    return [
        "{expected:.4g} ({bound:.4g})".format_map(tpot),
        "{expected:.4g} ({bound:.4g})".format_map(ttft),
        f"{record['decode_tokens_per_s']:.4g}" if record["fits"] else "does not fit",
        "{prefill}/{decode}".format_map(record["limit"]),
        str(record["largest_batch"]) if capacity is not None else "-",
        f"{record['weight_bytes'] / GB:.3f}",
        f"{record['kv_bytes'] / GB:.3f}",
        f"{capacity / GB:.4g}" if capacity is not None else "-",
        f"{record['energy_per_token_j']['nominal']:.3g}",
        f"{cost:.3g}" if cost is not None else "-",
    ]
