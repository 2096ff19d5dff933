"""The designs of ``qsim codesign`` for the terminal and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hw.energy_level import level_note
from sim.codesign.choose import describe, shown
from sim.codesign.columns import TERMINAL, columns_of, row
from sim.codesign.command import Codesign
from sim.codesign.design import Change, Design
from sim.codesign.missing import Missing
from sim.codesign.require import Requirement
from sim.codesign.search import Found, Space
from sim.tables import Column, FittingTable

#: Rows of the front in the terminal.
MOST_ROWS = 20
#: What is not known of a machine on an FPGA.
FPGA_NOTE = (
    "PEs count as they were placed and routed alone, at 0.8 of their clock (assumed); the energy of"
    " an FPGA is not modelled."
)
#: What a machine leaves to a processor.
HOST_NOTE = (
    "Attention, norms and the FP16 lm_head are on a processor beside the array, as fast as memory"
    " delivers them (assumed)."
)


def result_text(found: Codesign) -> RenderableType:
    """Return the answer, the front, and what one step of each parameter changes."""
    listed = shown(found.outcome.front, MOST_ROWS, always=[found.chosen.number])
    kept = {number: place for place, number in enumerate(listed)}
    rows = sorted(
        (d for d in found.designs if d.number in kept), key=lambda design: kept[design.number]
    )
    return Group(
        *(Text(line) for line in headline(found)),
        Text(""),
        front_table(rows, found.chosen.number),
        Text(f"* the answer. {len(found.designs):,} designs on the front; all are in front.csv."),
        Text(""),
        changes_table(found.changes, found.space.grid.area_unit),
        Text(""),
        *(Text(line) for line in notes(found)),
    )


def headline(found: Codesign) -> list[str]:
    """Return the answer in sentences."""
    d, accuracy = found.chosen, found.chosen.pair.accuracy
    error = f" ± {accuracy.kl_se:.4f}" if accuracy.kl_se is not None else ""
    low, nominal, high = (1e3 * joules for joules in d.energy_j)
    energy = "" if d.grid.fpga else f" {nominal:.3g} mJ a token ({low:.3g} to {high:.3g});"
    numbers = (
        f"{d.tokens_per_s:.3g} tokens/s expected (bound {d.bound_tokens_per_s:.3g}, limited by"
        f" {d.step.limit});{energy} {d.area:.3g} {_area_text(d)};"
        f" KL {accuracy.kl_nats:.4f}{error} nats, loss {accuracy.loss_nats:+.4f}"
    )
    return [f"{found.space.shape.name}: {describe(d)}", numbers]


def _area_text(design: Design) -> str:
    fpga = design.grid.fpga
    if fpga is None:
        return "mm2"
    return f"kLUT, {100_000 * design.area / fpga.luts:.0f} % of {fpga.name}"


def notes(found: Codesign) -> list[str]:
    """Return what was searched, the exchange against INT8, missing points and caveats."""
    space, outcome = found.space, found.outcome
    searched = (
        f"{space.size:,} designs ({len(space.pairs)} pairs of formats and PE x"
        f" {space.grid.size:,} machines), {outcome.valid:,} valid, {outcome.within:,} within the"
        f" limits; {found.seconds:.1f} s."
    )
    of_levels = FPGA_NOTE if space.grid.fpga else level_note()
    lines = [searched, *exchange(found), of_levels, HOST_NOTE]
    if found.missing:
        lines.append(
            f"{len(found.missing)} points that PEs could use were not measured: --run-missing"
            " measures those that could change the front; missing.csv has all commands, such as:"
            f" {found.missing[0].command(found.table.model)}"
        )
    return lines


def exchange(found: Codesign) -> list[str]:
    """Return what divergence buys in speed over the fastest design with INT8 operands."""
    base, chosen = found.all_int8, found.chosen
    if base is None or base.pair.name == chosen.pair.name:
        return []
    faster = 100 * (chosen.tokens_per_s / base.tokens_per_s - 1)
    more = chosen.pair.accuracy.kl_nats - base.pair.accuracy.kl_nats
    line = (
        f"Against INT8 weights and activations in the same area with the same memory"
        f" ({base.tokens_per_s:.3g} tokens/s): {faster:+.0f} % speed for {more:+.4f} nats of KL."
    )
    return [line]


def front_table(designs: Sequence[Design], chosen: int) -> FittingTable:
    """Return designs as a table; the chosen one has a star."""
    prompts = designs[0].ttft_s
    known = {column.name: column for column in columns_of(designs[0].grid.fpga, prompts)}
    of_prompts = ("weight_buffer_kib", *(f"ttft_{tokens}_s" for tokens in prompts))
    names = [name for name in (*TERMINAL, *(of_prompts if prompts else ())) if name in known]
    texts = ("weights", "activations", "element")
    columns = [Column(known[name].title, is_number=name not in texts) for name in names]
    rows = [
        ("*" if d.number == chosen else "", *(known[name].text(d) for name in names))
        for d in designs
    ]
    return FittingTable([Column(""), *columns], rows, see="front.csv of --out has all columns.")


def changes_table(changes: Sequence[Change], unit: str) -> RenderableType:
    """Return what one step of each parameter changes."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    is_chip = unit == "mm2"
    for heading in ("what one step buys", "tok/s", *(["mJ/tok"] if is_chip else []), unit):
        table.add_column(heading, justify="left" if heading.startswith("what") else "right")
    for change in changes:
        table.add_row(
            Text(change.what),
            f"{change.tokens_per_s:+.3g}",
            *([f"{1e3 * change.energy_j:+.3g}"] if is_chip else []),
            f"{change.area:+.3g}",
        )
    return table


def requirement_table(found: Sequence[Requirement]) -> FittingTable:
    """Return what any machine must have, one format a row."""
    columns = [Column("format"), *(Column(h, is_number=True) for h in ("tok/s", "GB/s", "GMAC/s"))]
    columns += [Column(h, is_number=True) for h in ("MB/token", "MMAC/token", "MiB")]
    rows = [
        (
            one.format,
            f"{one.tokens_per_s:g}",
            f"{one.gb_per_s:.3g}",
            f"{one.gmac_per_s:.3g}",
            f"{one.bytes_per_token / 1e6:.4g}",
            f"{one.macs_per_token / 1e6:.4g}",
            f"{one.stored_mib:.4g}",
        )
        for one in found
    ]
    return FittingTable(columns, rows)


def front_csv(designs: Sequence[Design]) -> str:
    """Return designs with all columns; the first line gives units and kinds of numbers."""
    units = ["# column: unit, kind"]
    columns = columns_of(designs[0].grid.fpga, designs[0].ttft_s)
    units += [f"# {c.name}: {c.unit or 'text or count'}, {c.kind}: {c.meaning}" for c in columns]
    return "\n".join(units) + "\n" + _csv(row(design) for design in designs)


def cloud_csv(space: Space, cloud: Found) -> str:
    """Return the objectives of a regular sample of all designs."""
    rows = (
        {
            "design": int(number),
            "pair": space.pairs[int(number) // space.grid.size].name,
            **dict(zip(space.objectives, (float(x) for x in point), strict=True)),
        }
        for number, point in zip(cloud.numbers, cloud.points, strict=True)
    )
    return _csv(rows)


def missing_csv(found: Sequence[Missing], model: str) -> str:
    """Return the points that were not measured, with the command of each."""
    return _csv(
        {
            "weights": one.weights,
            "activations": one.activations or "fp16",
            "pe": one.pe,
            "elements": " ".join(one.elements),
            "command": one.command(model),
        }
        for one in found
    )


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    stream, writer = io.StringIO(), None
    for one in rows:
        if writer is None:
            writer = csv.DictWriter(stream, list(one), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in one.items()})
    return stream.getvalue()
