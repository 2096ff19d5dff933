"""A model in a GGUF file. The ``gguf`` library dequantizes; the header is read here, faster."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.sources.files import file_sha256, hash_of
from sim.sources.gguf_config import config_from_gguf
from sim.sources.gguf_header import GgufHeader, read_header
from sim.sources.gguf_tensors import (
    GRID_TYPES,
    Piece,
    find_pieces,
    half_split,
    read_rows,
    read_steps,
)
from sim.sources.gguf_tokenizer import gguf_tokenizer
from sim.sources.source import Tensor, finished, is_linear
from sim.sources.tokenizer import Tokenizer

#: Architectures whose window llama.cpp leaves out (``models/llama.cpp``, ``models/phi3.cpp``).
WINDOWLESS = ("llama", "phi3")
WINDOW_NOTE = (
    "The sliding window of the file is applied, as in the model that it was converted from; "
    "llama.cpp leaves it out in this architecture."
)
_FLOAT_TYPES = ("F32", "F16", "BF16")
_GRID_NAMES = tuple(t.name for t in GRID_TYPES)


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """A model read from a GGUF file; see :class:`sim.sources.source.ModelSource`."""

    name: str
    config: ModelConfig
    header: GgufHeader
    pieces: Mapping[str, Piece]

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def source_types(self) -> dict[str, int]:
        """Number of stored tensors of each storage type, the most frequent first."""
        return dict(Counter(t.type.name for t in self.header.tensors.values()).most_common())

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report: quantization of the source, a window that llama.cpp leaves out."""
        linear = {self.pieces[name].name for name in self.pieces if is_linear(name)}
        types = Counter(self.header.tensors[name].type.name for name in linear)
        notes = [_note(t, n, self.name) for t, n in types.items() if t not in _FLOAT_TYPES]
        architecture = self.header.metadata["general.architecture"]
        if self.config.sliding_window is not None and architecture in WINDOWLESS:
            notes.append(WINDOW_NOTE)
        return tuple(notes)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the bytes of the file and the configuration."""
        return hash_of("gguf", self.config.text, file_sha256(self.path))

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name`` as contiguous float32."""
        piece = self._piece(name)
        values = read_rows(self.header, piece.name, piece.start, piece.stop)
        if piece.minus:
            values = values - np.float32(piece.minus)
        return finished(_ordered(values, piece), name=name, path=self.path)

    def stored_bits(self, name: str) -> float:
        """Return the bits that the canonical tensor ``name`` takes in the file."""
        piece = self._piece(name)
        info = self.header.tensors[piece.name]
        return 8.0 * info.size * (piece.stop - piece.start) / info.shape[0]

    def is_quantized(self, name: str) -> bool:
        """Return whether the canonical tensor ``name`` is stored in codes."""
        return self.header.tensors[self._piece(name).name].type.name not in _FLOAT_TYPES

    def has_grid(self, name: str) -> bool:
        """Return whether the stored values of ``name`` are equally spaced in blocks."""
        return self.header.tensors[self._piece(name).name].type in GRID_TYPES

    def grid_step(self, name: str) -> Tensor:
        """Return the distance of neighbouring grid values at each element of ``name``."""
        piece = self._piece(name)
        steps = read_steps(self.header, piece.name, piece.start, piece.stop)
        return finished(_ordered(steps, piece), name=f"scales of {name}", path=self.path)

    def _piece(self, name: str) -> Piece:
        if name not in self.pieces:
            raise UserError(f"{self.name} has no tensor {name}")
        return self.pieces[name]

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer in the file or beside it."""
        return gguf_tokenizer(self.header).checked(self.config.vocab_size, self.path)


def open_gguf(path: Path, *, name: str | None = None) -> GgufFile:
    """Open the GGUF file at ``path``; ``name`` without the file's types, else the file's name."""
    if not path.is_file():
        raise UserError(f"no file at {path}")
    header = read_header(path)
    config = config_from_gguf(header)
    pieces = find_pieces(config, header)
    stored = Counter(tensor.type.name for tensor in header.tensors.values()).most_common()
    quantized = [kind for kind, _ in stored if kind not in _FLOAT_TYPES]
    suffix = f", dequantized from {'/'.join(quantized)}" if quantized else ""
    return GgufFile(
        name=f"{name or path.stem}{suffix}", config=config, header=header, pieces=pieces
    )


def _ordered(rows: np.ndarray, piece: Piece) -> np.ndarray:
    return half_split(rows, piece.interleaved_heads) if piece.interleaved_heads else rows


def _note(kind: str, count: int, name: str) -> str:
    """Return the note on ``count`` matrices that are stored as ``kind``."""
    note = (
        f"{count} linear matrices of {name}: their {kind} error is part of the float reference, "
        "so results are relative to an already quantized model."
    )
    if kind in _GRID_NAMES:
        note += (
            f" A format that contains the {kind} grid loses nothing on it, which is an artefact; "
            "check conclusions on integer formats with --dither-source."
        )
    return note
