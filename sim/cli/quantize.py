"""``qsim quantize``."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sim.cli.output import print_line
from sim.errors import writing
from sim.options import Count, Names


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How to store a model, and where."""

    format: str
    """Format of 'qsim formats', as for qsim sweep."""
    out: Path
    """Directory to make, such as packed; it must not exist yet."""
    group_size: Count | None = None
    """Consecutive weights that share a scale, for formats that leave it open."""
    skip: Names = ()
    """Patterns of layers to keep as they are, such as '*.down_proj'. Embeddings and lm_head are
    always kept."""


def quantize(model: str, *, options: QuantizeOptions) -> None:
    """Write a model as a packed checkpoint: codes and scales in safetensors, a JSON description.

    Block types of GGUF, such as q4_0 and tq2_0, become a .gguf file in the directory instead. The
    directory is a model for every command, and reads as the very numbers that a sweep of the same
    format computes with.

    Parameters
    ----------
    model
        Model of 'qsim models', a directory, a .gguf file or a hub id.
    """
    from sim.quantized.writer import write_checkpoint
    from sim.sources.catalog import open_model
    from sim.sweep.recipe_file import make_recipe

    recipe = make_recipe(options.format, group_size=options.group_size, skip=options.skip)
    source = open_model(model)
    with writing(options.out):
        path = write_checkpoint(source, recipe, options.out)
    size = sum(file.stat().st_size for file in path.iterdir())
    print_line(f"{path}: {size / 1e6:.1f} MB")
