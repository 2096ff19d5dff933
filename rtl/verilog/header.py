"""The head comment of a PE's Verilog: computation, payloads, and handshakes."""

import textwrap
from collections.abc import Iterator
from math import isfinite

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data, wiring

from numerics.formats import FloatFormat, Format, IntFormat
from numerics.mixtures.selected import SelectedFormat
from rtl.arithmetic.units import in_units
from rtl.element import ProcessingElement

#: Largest code width, in bits, of formats whose values are listed.
LISTED_BITS = 4
WIDTH = 97


def header_lines(pe: ProcessingElement, component: wiring.Component) -> Iterator[str]:
    """Yield a PE's notes, the bits of its two payloads, and the rules of its streams."""
    for note in pe.notes:
        yield from _wrapped(note, "  ")
    beat, result = (getattr(component, name).payload.shape() for name in ("operands", "result"))
    yield ""
    yield "operands__payload is a beat:"
    yield from _fields(beat, pe.meanings)
    yield from _wrapped(f"result__payload is {_described(pe.meanings['result'])}:", "  ")
    yield from _fields(result, {})
    yield ""
    place = "same cycle" if pe.cycles == 1 else f"last of {pe.cycles} cycles"
    yield from _wrapped(
        "All ports are synchronous to the rising edge of clk; rst discards the group in flight. A"
        " beat is transferred at an edge with operands__valid and operands__ready high, in the"
        f" {place} unless it stalls; hold it until then. The result of a group becomes valid"
        f" {_times(pe.latency)} after the transfer of its last beat, and holds until an edge with"
        " result__valid and result__ready high; until then later beats are accepted, except the"
        " last one of a group."
    )


def _times(cycles: int) -> str:
    return "1 cycle" if cycles == 1 else f"{cycles} cycles"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _fields(layout: ShapeLike, meanings: dict[str, Format | str]) -> Iterator[str]:
    """Yield a line for each field of a payload, the lowest bits first."""
    if isinstance(layout, data.StructLayout):
        for name, field in layout:
            yield from _field(name, field.offset, field.shape, meanings.get(name))
    else:
        yield from _field("", 0, layout, None)


def _field(name: str, offset: int, shape: ShapeLike, meaning: Format | str | None) -> Iterator[str]:
    size = Shape.cast(shape).width
    what = _width(shape)
    bits = f"[{offset + size - 1}:{offset}]" if size > 1 else f"[{offset}]"
    head = f"  {bits} {name}: {what}" if name else f"  {bits} {what}"
    yield from _wrapped(head if meaning is None else f"{head}; {_described(meaning)}", "    ")
    if isinstance(meaning, SelectedFormat):
        for index, candidate in enumerate(meaning.candidates):
            yield f"    with {index} above: {_values(candidate)}"
    elif isinstance(meaning, Format) and _is_listed(meaning):
        yield f"    values: {_values(meaning)}"


def _width(shape: ShapeLike) -> str:
    if isinstance(shape, data.ArrayLayout):
        each = _width(shape.elem_shape)
        order = ", the first in the lowest bits" if shape.length > 1 else ""
        return f"{shape.length} x {each}{order}"
    cast = Shape.cast(shape)
    return f"{cast.width} bit{'s' * (cast.width > 1)}{', signed' * cast.signed}"


def _described(meaning: Format | str) -> str:
    """Return the description of a field or a format."""
    if isinstance(meaning, str):
        return meaning
    if isinstance(meaning, SelectedFormat):
        return f"{meaning.name}: a code, and above it the number of its table"
    if isinstance(meaning, IntFormat):
        kind = "unsigned" if meaning.kind == "unsigned" else "two's complement"
        return f"{meaning.name}: {kind}{in_units(meaning.unit)}"
    if isinstance(meaning, FloatFormat):
        special = [c for c in range(1 << meaning.bits) if not isfinite(meaning.decode(c))]
        parts = f"sign, {meaning.exponent_bits} exponent and {meaning.mantissa_bits} mantissa bits"
        no_numbers = "; NaN and infinities count as 0" if special else ""
        return f"{meaning.name}: {parts}, bias {meaning.bias}{no_numbers}"
    return f"{meaning.name} codes"


def _is_listed(fmt: Format) -> bool:
    return fmt.bits <= LISTED_BITS and not isinstance(fmt, IntFormat)


def _values(fmt: Format) -> str:
    """Return the values of all codes; codes that are not numbers count as 0."""
    values = (fmt.decode(code) for code in range(1 << fmt.bits))
    return " ".join(f"{value if isfinite(value) else 0:g}" for value in values)
