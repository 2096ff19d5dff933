"""Scenarios as a table: one row for each, or one block where the terminal is narrow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    RenderableType,
)
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sim.deployment.scenario import Scenario

MS = 1e3
GB = 1e9


HEADINGS = (
    "model", "machine", "format", "TTFT ms (bound)", "TPOT ms (bound)", "tokens/s", "limit",
    "weights GB", "KV GB", "of GB", "batch fits", "J/token", "$/Mtok",
)  # fmt: skip
NAMES = ("model", "machine", "format")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """A table, or its rows as blocks where it is too wide for the terminal."""

    wide: Table
    narrow: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        needed = Measurement.get(console, options.update(width=UNLIMITED), self.wide).maximum
        yield self.wide if needed <= options.max_width else self.narrow


UNLIMITED = 10_000


def scenarios_table(scenarios: Sequence[Scenario]) -> RenderableType:
    """Return one row for each combination: expectation, and the bound in brackets."""
    wide = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    narrow = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    narrow.add_column(no_wrap=True, style="bold")
    narrow.add_column(overflow="fold")
    for heading in HEADINGS:
        justify: JustifyMethod = "left" if heading in NAMES else "right"
        wide.add_column(heading, justify=justify, no_wrap=True)
    for one in scenarios:
        cells = _cells(one.to_record())
        wide.add_row(*cells)
        for heading, text in zip(HEADINGS, cells, strict=True):
            narrow.add_row(heading, text)
        narrow.add_row()
    notes = dict.fromkeys(
        f"{one.model} on {one.machine} in {one.format}: {note}" if "fit" in note else note
        for one in scenarios
        for note in one.notes
    )
    return Group(_Fitting(wide=wide, narrow=narrow), *(Text(f"note: {note}") for note in notes))


def _cells(record: dict[str, Any]) -> list[str]:
    ttft, tpot = ({k: v * MS for k, v in record[name].items()} for name in ("ttft_s", "tpot_s"))
    capacity, cost = record["capacity_bytes"], record["cost_usd_per_mtok"]
    return [
        record["model"],
        record["machine"],
        record["format"],
        "{expected:.4g} ({bound:.4g})".format_map(ttft),
        "{expected:.4g} ({bound:.4g})".format_map(tpot),
        f"{record['decode_tokens_per_s']:.4g}" if record["fits"] else "does not fit",
        "{prefill}/{decode}".format_map(record["limit"]),
        f"{record['weight_bytes'] / GB:.3f}",
        f"{record['kv_bytes'] / GB:.3f}",
        f"{capacity / GB:.4g}" if capacity is not None else "-",
        str(record["largest_batch"]) if capacity is not None else "-",
        f"{record['energy_per_token_j']['nominal']:.3g}",
        f"{cost:.3g}" if cost is not None else "-",
    ]
