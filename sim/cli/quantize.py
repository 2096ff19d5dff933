"""``qsim quantize``."""

import math
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sim.calibration.options import BUILT_IN, CalibrationOptions
from sim.cli.output import print_line
from sim.errors import writing
from sim.options import Count, Name, Names


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How to store a model, and where."""

    format: Name
    """Format of 'qsim formats', as for qsim sweep, or a mix of llama.cpp such as q4_k_m."""
    out: Path
    """File to make if it ends in .gguf, such as model.gguf, else a directory."""
    to: Name | None = None
    """Container of another tool: compressed-tensors, gptq or awq; a file of qsim or of llama.cpp if
    not given."""
    group_size: Count | None = None
    """Consecutive weights that share a scale, for formats that leave it open."""
    method: Name | None = None
    """Method of 'qsim methods' that chooses the codes, such as gptq; rounding to nearest if not
    given."""
    skip: Names = ()
    """Patterns of layers to keep as they are, such as '*.down_proj'."""
    embeddings: str | None = None
    """Type of the embedding: f32, f16, bf16 or keep, in GGUF files block types such as q8_0 too.
    By default llama.cpp's choice in GGUF files, 16 bits in others."""
    head: str | None = None
    """Type of lm_head where it is not the embedding; as for --embeddings."""
    memory: str | None = None
    """Memory to stay below, such as 6GB: hidden states of calibration windows beyond half of it go
    to disk."""


def quantize(
    model: str, *, options: QuantizeOptions, calibration: CalibrationOptions = BUILT_IN
) -> None:
    """Write a model as a GGUF file or as a packed checkpoint.

    Block types and mixes of GGUF, such as q4_0, q4_k_m and tq2_0, make a file that llama.cpp loads.
    Other formats make a directory of codes and scales in safetensors with a JSON description, or
    with --to the directory of another tool. All are models for every command.

    Parameters
    ----------
    model
        Model of 'qsim models', a directory, a .gguf file or a hub id.
    """
    from sim.calibration.spool import parse_bytes
    from sim.quantized.containers.writing import find_container, write_container
    from sim.quantized.table_types import TableTypes
    from sim.quantized.writer import write_model
    from sim.quantized.written_notes import unwritten_notes, written_notes
    from sim.sources.catalog import open_model
    from sim.sweep.calibration_texts import read_calibration
    from sim.sweep.recipe_file import make_recipe

    recipe = make_recipe(
        options.format, group_size=options.group_size, skip=options.skip, method=options.method
    )
    tables = TableTypes(embeddings=options.embeddings, head=options.head)
    source = open_model(model)
    read = read_calibration(calibration, source, [recipe])
    memory = math.inf if options.memory is None else parse_bytes(options.memory)
    with writing(options.out):
        if options.to is None:
            path = write_model(source, recipe, options.out, tables, read, memory)
        else:
            container = find_container(options.to)
            path = write_container(source, recipe, options.out, container, tables, read, memory)
    files = [path] if path.is_file() else list(path.iterdir())
    print_line(f"{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
    for note in (*unwritten_notes(recipe), *written_notes(source, path, tables)):
        print_line(f"note: {note}")
