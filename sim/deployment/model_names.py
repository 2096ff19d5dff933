"""One name for a model in every command: of a model to sweep, or of built-in sizes."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from roofline.model.model_names import known_model
from roofline.model.model_shape import ModelShape, list_models, read_model
from sim.deployment.shapes import shape_of, shape_text
from sim.errors import user_errors
from sim.sources.known import EMBEDDED_ID, KNOWN

if TYPE_CHECKING:
    from sim.model.config import ModelConfig
    from sim.sources.source import ModelSource

FILE_SUFFIX = ".toml"


def find_shape(text: str) -> ModelShape:
    """Return a model's sizes by its name, from its TOML file, or from its configuration."""
    if text.endswith(FILE_SUFFIX):
        with user_errors(ValueError):
            return read_model(Path(text))
    if not _has_weights(text):
        with user_errors(ValueError):
            return known_model(text)
    if text in KNOWN and (shape := _built_in(text)) is not None:
        return shape
    return _shape_of_source(text)[0]


def find_config(text: str) -> "ModelConfig | None":
    """Return the configuration of a model to sweep; ``None`` for one with built-in sizes."""
    is_built_in = text in KNOWN and _built_in(text) is not None
    if text.endswith(FILE_SUFFIX) or is_built_in or not _has_weights(text):
        return None
    from sim.sources.catalog import open_model

    return open_model(text).config


def storage_note(text: str) -> str | None:
    """Return a note on a file with types of its own, which sizes leave out; ``None`` for others."""
    from sim.sources.packed_description import FILE_NAME

    path = Path(text).expanduser()
    if path.suffix.lower() != ".gguf" and not (path / FILE_NAME).is_file():
        return None
    return (
        f"{path.name} counts as FP16, whatever types it stores; give those with --format, such as "
        f"--format q4_k_m"
    )


def model_text(text: str) -> RenderableType:
    """Return the sizes of a model and their source, and the notes of one that can be swept."""
    if text.endswith(FILE_SUFFIX) or not _has_weights(text):
        return shape_text(find_shape(text))
    # Readers of checkpoints take a second to import, which built-in sizes don't need.
    from sim.deployment.stored_text import stored_lines
    from sim.sources.catalog import stored_model

    shape, source = _shape_of_source(text)
    stored = stored_model(source)
    lines = () if stored is None else tuple(stored_lines(stored))
    return shape_text(shape, source.notes, lines)


def _has_weights(text: str) -> bool:
    """Return whether a name is that of a model to sweep, not of sizes."""
    path = Path(text).expanduser()
    return text == EMBEDDED_ID or text in KNOWN or path.is_dir() or path.suffix.lower() == ".gguf"


def _built_in(text: str) -> ModelShape | None:
    """Return the built-in sizes of a known model, which need no weights."""
    named = [name for name in list_models() if text.startswith(name)]
    return known_model(named[0]) if named else None


def _shape_of_source(text: str) -> "tuple[ModelShape, ModelSource]":
    from sim.sources.catalog import open_model

    source = open_model(text)
    with user_errors(ValueError):
        return shape_of(source.config, name=Path(text).name, title=source.name), source
