"""``qsim formats``: the list of all formats, and the description of one."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from sim.formats.describe import options_line
from sim.formats.lookup import find_definition, find_formats
from sim.formats.served import LLAMA_8B, bits, same_as, served_tables
from sim.formats.tables import families_table, formats_table, grid_table, scheme_text
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import Meaning, find_meaning, is_served, mix_of


def all_formats() -> RenderableType:
    """Return the tables of schemes, of other names (widths, packings, mixes), and of spellings."""
    return Group(formats_table(), Text(), served_tables(), Text(), families_table())


def format_text(name: str, *, out: Path | None = None) -> RenderableType:
    """Return the description of a format; draw the values of its elements if ``out`` is given."""
    if (mix := mix_of(name)) is not None:
        return Text("\n".join(_mix_lines(name, mix)))
    if is_served(name):
        return Group(*_served(name, find_meaning(name)))
    scheme = find_definition(name)
    formats = find_formats(name) if scheme is None or scheme.formats or out is not None else ()
    if out is not None:
        # Matplotlib takes a second to import.
        from sim.formats.grid_figure import write_grid

        write_grid(formats, out)
    if scheme is None:
        # An element format, which options make a scheme.
        return Group(*map(grid_table, formats), Text(f"\n{options_line(name.strip().lower())}"))
    return Group(scheme_text(name, scheme), Text(), *map(grid_table, formats))


def _mix_lines(name: str, mix: GgufMix) -> Iterator[str]:
    yield f"{name}: a mix of GGUF block types, as llama.cpp writes files"
    yield f"consists of: {mix.about}"
    yield f"bits per weight of Llama 3.1 8B, including embeddings and head: {bits(mix):.4g}"
    yield "rows that are not a multiple of 256 (a super-block) take a type with blocks of 32"
    yield "first and last layers of Llama 3.1 8B:"
    for layer in (0, LLAMA_8B.layers - 1):
        types = mix.types(LLAMA_8B).items()
        own = [(k.split(".")[-1], v) for k, v in types if k.startswith(f"layers.{layer}.")]
        yield f"  layer {layer}: " + ", ".join(f"{member} {kind}" for member, kind in own)


def _served(name: str, meaning: Meaning) -> Iterator[RenderableType]:
    parts = {
        "weights": meaning.weights,
        "activations": meaning.activations,
        "KV cache": meaning.kv,
    }
    others = f"\nsame as: {same_as(name)}" if same_as(name) else ""
    yield Text(f"{name}: formats of weights and activations{others}")
    for role, scheme in parts.items():
        yield Text()
        if scheme is None or isinstance(scheme, GgufMix):
            yield Text(f"{role}: float, not quantized")
        else:
            yield scheme_text(role, scheme)
