"""All models by name: list them, open one."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from numerics.names.suggest import unknown
from roofline.model.model_shape import list_models as list_shapes
from sim.errors import UserError
from sim.sources.embedded import FILES, embedded_directory, open_embedded
from sim.sources.fetch import checked_path, is_fetched
from sim.sources.fetch import fetch as fetch
from sim.sources.gguf_file import GgufFile, open_gguf
from sim.sources.hf_directory import CONFIG, HfDirectory, open_directory
from sim.sources.hub import download_snapshot
from sim.sources.known import EMBEDDED_ID, KNOWN, KnownModel
from sim.sources.source import ModelSource, StoredModel

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A line of the list of models. A known model can be fetched; a fetched one can be used."""

    id: str
    state: Literal["embedded", "fetched", "known"]
    parameters: int | None
    size_bytes: int | None
    source: str
    licence: str
    note: str


def open_model(spec: str) -> ModelSource:
    """Open the model that ``spec`` names.

    Tried in this order: ``embedded``, the id of a known model, a directory, a ``.gguf`` file, an
    id of the Hugging Face hub.
    """
    if spec == EMBEDDED_ID:
        return open_embedded()
    if spec in KNOWN:
        return _open_known(KNOWN[spec])
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return _open_directory(path)
    if path.is_file():
        return _open_file(path)
    if _HUB_ID.fullmatch(spec) and not spec.endswith((".gguf", ".safetensors")):
        return open_directory(download_snapshot(spec), name=spec)
    raise UserError(_unknown(spec))


def stored_model(source: ModelSource) -> StoredModel | None:
    """Return a model whose file says what it stores; ``None`` for a transformed one."""
    from sim.sources.packed import PackedCheckpoint

    # A check of the protocol would compute the hash of the content.
    return source if isinstance(source, HfDirectory | GgufFile | PackedCheckpoint) else None


def _open_known(model: KnownModel) -> ModelSource:
    if model.kind == "encoder":
        raise UserError(
            f"{model.id} is an encoder: it predicts no next token whose likelihood a sweep could "
            f"measure; reports/minilm_formats measures formats on its embeddings"
        )
    return open_gguf(checked_path(model), name=model.title)


def _open_directory(path: Path) -> ModelSource:
    """Open safetensors, codes that were packed here, or the one GGUF file of a directory."""
    # JAX, which reads codes, takes a second to import; a list of models does not need it.
    from sim.sources.packed import is_packed_checkpoint, open_checkpoint

    if is_packed_checkpoint(path):
        return open_checkpoint(path)
    files = list(path.glob("*.gguf"))
    if len(files) == 1 and not (path / CONFIG).exists():
        return open_gguf(files[0])
    return open_directory(path)


def _open_file(path: Path) -> ModelSource:
    if path.suffix.lower() == ".gguf":
        return open_gguf(path)
    raise UserError(
        f"{path} is not a .gguf file; for safetensors give the directory that holds them together "
        "with config.json and tokenizer.json"
    )


def _unknown(spec: str) -> str:
    """Return the error for an unknown model, with the nearest names."""
    if spec.endswith(".gguf") or spec.startswith((".", "/", "~")):
        return f"no file or directory at {spec}"
    if spec in list_shapes():
        return (
            f"of {spec} only the sizes are built in, for qsim roofline; give a directory or a "
            f".gguf file with its weights"
        )
    message = unknown("model", spec, [EMBEDDED_ID, *KNOWN], see="qsim models")
    return f"{message}; a directory, a .gguf file or a hub id is a model too"


def list_models() -> list[ModelRow]:
    """Return the embedded model and the known ones, each with its state."""
    return [_embedded_row(), *_known_rows()]


def _embedded_row() -> ModelRow:
    try:
        directory, model = embedded_directory(), open_embedded()
    except UserError as error:
        text = str(error)
        return _row_of_embedded(None, None, note=text[0].upper() + text[1:])
    size = sum((directory / name).stat().st_size for name in FILES)
    note = "Small, for trying things out; not evidence"
    return _row_of_embedded(count_parameters(model), size, note=note)


def _row_of_embedded(parameters: int | None, size: int | None, *, note: str) -> ModelRow:
    return ModelRow(
        id=EMBEDDED_ID,
        state="embedded",
        parameters=parameters,
        size_bytes=size,
        source="trained by qsim on public-domain text",
        licence="Apache-2.0",
        note=note,
    )


def _known_rows() -> Iterable[ModelRow]:
    for model in KNOWN.values():
        yield ModelRow(
            id=model.id,
            state="fetched" if is_fetched(model) else "known",
            parameters=model.parameters,
            size_bytes=model.size_bytes,
            source=f"wheel {model.requirement}",
            licence=model.licence,
            note=model.note,
        )


def count_parameters(model: HfDirectory) -> int:
    """Return the number of values in the stored tensors of a model."""
    return sum(math.prod(tensor.shape) for tensor in model.stored.values())
