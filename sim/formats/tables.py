"""Formats as tables for the terminal: all of them, one scheme, one value grid, one rounding."""

from typing import get_args

from rich.console import Group, RenderableType
from rich.text import Text

from numerics import CATALOG
from numerics.formats import Format
from numerics.names.families import FAMILIES
from numerics.schemes.scheme import Scheme, StorageKind
from sim.formats.describe import definition, options_line, summary
from sim.formats.explain import Explanation, explain, tie_rule
from sim.formats.lookup import grid
from sim.formats.served import same_as
from sim.tables import Column, FittingTable, numbers, words

#: Matrix for which bits per weight are given, as in a 7B model; it suits every group size.
EXAMPLE_SHAPE = (4096, 4096)
#: Spellings of element formats without a scheme of that name, and of the options of any element.
ELEMENT_FORMS = {
    "e<exponent bits>m<mantissa bits>": "e4m1",
    "int<bits>_full": "int4_full",
    "table(<values>)": "table(-1,0,0.5,2)",
    "<element>[:<group>][:<zero point>][:<scale format>][:<scale rule>]": "int4:g32:asym:bf16",
}
#: Largest number of rows of a value grid; longer grids are cut in the middle.
MAX_ROWS = 64


def formats_table() -> FittingTable:
    """Return every named scheme: bits of a code, values, range, bits per weight, source."""
    columns = (
        *words("name"),
        *numbers("bits/weight", "bits", "values", "range"),
        Column("source", wraps=True),
    )
    rows = [_row(name, entry.scheme, entry.source) for name, entry in CATALOG.items()]
    return FittingTable(columns, rows, see="'qsim formats show NAME' shows all of one format.")


def _row(name: str, scheme: Scheme, source: str) -> tuple[str, ...]:
    bits = scheme.bits_per_weight(EXAMPLE_SHAPE)
    return (name, f"{bits:.5g}", *_element_cells(scheme), source)


def families_table() -> FittingTable:
    """Return the spellings of parameterized names, each with a named example."""
    rows = [(family.form, family.like) for family in FAMILIES]
    return FittingTable(words("with your own numbers", "such as"), [*rows, *ELEMENT_FORMS.items()])


def scheme_text(name: str, scheme: Scheme) -> RenderableType:
    """Return the description of a scheme: summary, source, stored arrays, definition."""
    bits = {
        kind: scheme.bits_per_weight(EXAMPLE_SHAPE, kind=kind) for kind in get_args(StorageKind)
    }
    rows, columns = EXAMPLE_SHAPE
    counted = ", ".join(f"{count:.5g} {kind}" for kind, count in bits.items())
    exact = "" if scheme.is_exact else "; its last bits differ between machines"
    lines = [f"{name}: {summary(scheme, bits['full'])}"]
    lines += [f"source: {source}"] if (source := _source(scheme)) else []
    lines += [f"same as: {others}"] if (others := same_as(name)) else []
    lines += [options_line(name if name.lower() in CATALOG else scheme.name.split(":")[0])]
    lines += [f"bits per weight of a matrix of {rows} x {columns}: {counted}{exact}"]
    return Group(Text("\n".join(lines)), Text(), _stored(scheme), Text(), Text(definition(scheme)))


def _source(scheme: Scheme) -> str:
    return next((entry.source for entry in CATALOG.values() if entry.scheme == scheme), "")


def _stored(scheme: Scheme) -> FittingTable:
    rows = [
        (field.name, " x ".join(map(str, field.shape)) or "1", str(field.bits))
        for field in scheme.layout(EXAMPLE_SHAPE)
    ]
    return FittingTable((*words("stored"), *numbers("shape", "bits each")), rows)


def _element_cells(scheme: Scheme) -> tuple[str, str, str]:
    """Return code width in bits, number of values, and range of a scheme's elements."""
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
    """Return the values of a format with codes, midpoints and the rounding of ties."""
    values = grid(fmt)
    columns = numbers("code", "value", "midpoint to the next", "a tie there goes to")
    rows = [_grid_row(fmt, values, index) for index in _shown(len(values))]
    unit = "" if fmt.unit is None else f", all multiples of {fmt.unit:g}"
    head = Text(f"{fmt.name}: {fmt.bits} bits, {len(values)} values{unit}; {tie_rule(fmt)}")
    return Group(head, Text(number_line(values)), Text(), FittingTable(columns, rows))


def _grid_row(fmt: Format, values: tuple[float, ...], index: int | None) -> tuple[str, ...]:
    if index is None:
        return ("...", "...", "...", "...")
    code, value = f"{fmt.encode(values[index]):0{fmt.bits}b}", f"{values[index]:.9g}"
    if index + 1 == len(values):
        return (code, value, "", "")
    middle = (values[index] + values[index + 1]) / 2
    return (code, value, f"{middle:.9g}", f"{fmt.round(middle):.9g}")


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
    """Return the explanation of a rounding: result, neighbours, midpoint, reason."""
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
    """Return the explanation for each format."""
    return Group(*(explanation_text(fmt, explain(fmt, number)) for fmt in formats))
