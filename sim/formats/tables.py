"""Formats as tables for the terminal: all of them, one value grid, one rounding."""

import inspect
import re
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from numerics import CATALOG
from numerics.formats import Format
from numerics.names.families import FAMILIES
from numerics.schemes.scheme import Scheme, StorageKind
from sim.formats.explain import Explanation, explain, tie_rule
from sim.formats.lookup import grid

#: A matrix that groups, blocks and codebooks of every scheme fit: of a layer of a 7B model.
EXAMPLE_SHAPE = (4096, 4096)
#: How elements are spelled that have no scheme of their name, with what may follow any element.
ELEMENT_FORMS = {
    "e<exponent bits>m<mantissa bits>": "e4m1",
    "int<bits>_full": "int4_full",
    "table(<values>)": "table(-1,0,0.5,2)",
    "<element>[:<group>][:<zero point>][:<scale format>][:<scale rule>]": "int4:g32:asym:bf16",
}
#: Grids of more values are cut in the middle.
MAX_ROWS = 64


def formats_table() -> Table:
    """Return every named scheme: bits of a code, values, range, bits per weight, source."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "bits", "values", "range", "bits/weight"):
        table.add_column(heading, justify="left" if heading == "name" else "right", no_wrap=True)
    table.add_column("source", overflow="fold")
    for name, entry in CATALOG.items():
        scheme = entry.scheme
        bits = scheme.bits_per_weight(EXAMPLE_SHAPE)
        table.add_row(name, *_element_cells(scheme), f"{bits:.5g}", Text(entry.source))
    return table


def families_table() -> Table:
    """Return how names with numbers of the user's own are spelled, and which named one is such."""
    table = Table(box=None, pad_edge=False)
    for heading in ("in your own numbers", "such as"):
        table.add_column(heading, no_wrap=True)
    for family in FAMILIES:
        table.add_row(Text(family.form), family.like)
    for form, like in ELEMENT_FORMS.items():
        table.add_row(Text(form), like)
    return table


def scheme_text(scheme: Scheme) -> RenderableType:
    """Return what a scheme is: its definition, and the arrays that a matrix is stored as."""
    rows, columns = EXAMPLE_SHAPE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("stored", "shape", "bits each"):
        table.add_column(heading, justify="left" if heading == "stored" else "right", no_wrap=True)
    for field in scheme.layout(EXAMPLE_SHAPE):
        table.add_row(field.name, " x ".join(map(str, field.shape)) or "1", str(field.bits))
    bits = {
        kind: scheme.bits_per_weight(EXAMPLE_SHAPE, kind=kind) for kind in get_args(StorageKind)
    }
    counted = ", ".join(f"{count:.5g} {kind}" for kind, count in bits.items())
    exact = "" if scheme.is_exact else "; its last bits differ between machines"
    return Group(
        Text(f"{scheme.name}: of a matrix of {rows} x {columns}, bits a weight: {counted}{exact}"),
        Text(),
        Text(_definition(scheme)),
        Text(),
        table,
        Text(),
    )


def _definition(scheme: Scheme) -> str:
    """Return what a scheme's class says of itself, up to its first section."""
    words, *_ = re.split(r"\n\w+\n---", inspect.getdoc(type(scheme)) or "")
    return re.sub(r":\w+:|``?|~", "", words).strip()


def _element_cells(scheme: Scheme) -> tuple[str, str, str]:
    """Return bits of a code, number of values and range of a scheme's elements."""
    index = f"{scheme.bits_per_weight(EXAMPLE_SHAPE, kind='index'):.4g}"
    if not scheme.formats:
        return index, "", ""
    grids = [grid(fmt) for fmt in scheme.formats]
    counts = sorted({len(values) for values in grids})
    largest = max(max(abs(values[0]), values[-1]) for values in grids)
    lowest = min(values[0] for values in grids)
    span = f"±{largest:g}" if lowest == -largest else f"{lowest:g}..{largest:g}"
    return index, "/".join(map(str, counts)), span


def grid_table(fmt: Format) -> RenderableType:
    """Return the values of a format with codes, midpoints and where ties go."""
    values = grid(fmt)
    table = Table(box=None, pad_edge=False)
    for heading in ("code", "value", "midpoint to the next", "a tie there goes to"):
        table.add_column(heading, justify="right")
    for index in _shown(len(values)):
        if index is None:
            table.add_row("...", "...", "...", "...")
            continue
        value = values[index]
        code = f"{fmt.encode(value):0{fmt.bits}b}"
        after = values[index + 1] if index + 1 < len(values) else None
        if after is None:
            table.add_row(code, f"{value:.9g}")
        else:
            middle = (value + after) / 2
            table.add_row(code, f"{value:.9g}", f"{middle:.9g}", f"{fmt.round(middle):.9g}")
    unit = "" if fmt.unit is None else f", all multiples of {fmt.unit:g}"
    head = Text(f"{fmt.name}: {fmt.bits} bits, {len(values)} values{unit}; {tie_rule(fmt)}")
    return Group(head, Text(number_line(values)), Text(), table)


def _shown(count: int) -> list[int | None]:
    if count <= MAX_ROWS:
        return list(range(count))
    half = MAX_ROWS // 2
    return [*range(half), None, *range(count - half, count)]


def number_line(values: tuple[float, ...], *, width: int = 72) -> str:
    """Return the values as marks on a line from the least to the largest.

    Examples
    --------
    >>> number_line((-1.0, 0.0, 1.0), width=9)
    '|---|---|'
    """
    low, high = values[0], values[-1]
    marks = {round((value - low) / (high - low) * (width - 1)) for value in values}
    return "".join("|" if column in marks else "-" for column in range(width))


def explanation_text(fmt: Format, found: Explanation) -> RenderableType:
    """Return how a number rounds: result, neighbours, midpoint, reason."""
    lines = [
        f"{found.number:.9g} in {fmt.name} is {found.value:.9g}, code {found.code:0{fmt.bits}b}"
    ]
    if found.midpoint is not None:
        low, high = found.below, found.above
        lines.append(f"between {low:.9g} and {high:.9g}, whose midpoint is {found.midpoint:.9g}")
    reason = f"because {found.reason}"
    if found.reason.name == "TIE":
        reason += f": {tie_rule(fmt)}"
    return Text("\n".join([*lines, reason]))


def explain_text(formats: tuple[Format, ...], number: float) -> RenderableType:
    """Return the explanation for each of some formats."""
    return Group(*(explanation_text(fmt, explain(fmt, number)) for fmt in formats))
