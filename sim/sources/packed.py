"""Read a packed checkpoint as a model."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from numerics import QuantizedTensor, Scheme
from numerics.schemes.repaired import Repaired
from numerics.schemes.storage import from_bytes, stored_bytes
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.tensors import tensor_shapes
from sim.sources.files import file_sha256, hash_of, read_small_text
from sim.sources.packed_description import (
    FILE_NAME,
    TOKENIZER,
    WEIGHTS,
    Description,
    read_description,
)
from sim.sources.source import Tensor, finished
from sim.sources.tokenizer import MAX_TOKENIZER_BYTES, Tokenizer, parse_tokenizer

FLOAT_TYPES = ("BF16", "F16", "F32")
BYTES = "U8"


@dataclass(frozen=True, kw_only=True)
class PackedCheckpoint:
    """A model whose matrices are codes and side data; see :class:`sim.sources.source.ModelSource`.

    What it reads is what its schemes dequantize to, bit for bit.
    """

    path: Path
    description: Description

    @property
    def name(self) -> str:
        """Name of the model with its recipe."""
        return f"{self.description.model}, {self.description.recipe}"

    @property
    def config(self) -> ModelConfig:
        """Shape and mathematics of the model."""
        return self.description.config

    @property
    def notes(self) -> tuple[str, ...]:
        """Note for the report: the float reference is quantized already."""
        count = len(self.description.matrices)
        return (f"{count} matrices are quantized already; float32 is what they dequantize to",)

    @property
    def source_types(self) -> dict[str, int]:
        """Number of matrices of each scheme."""
        return dict(Counter(scheme.name for scheme in self.description.matrices.values()))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the bytes of weights and description."""
        files = (self.path / FILE_NAME, self.path / WEIGHTS)
        return hash_of("qsim-quantized", *map(file_sha256, files))

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name``, dequantized."""
        scheme = self.description.matrices.get(name.removesuffix(".weight"))
        shape = tensor_shapes(self.config)[name]
        with _opened(self.path / WEIGHTS) as stored:
            if scheme is None:
                return finished(stored.get_tensor(name), name=name, path=self.path)
            codes = _read_codes(stored, name, scheme, shape)
            repair = self.description.repairs.get(name.removesuffix(".weight"))
            if repair is None:
                return finished(np.asarray(codes.dequantize()), name=name, path=self.path)
            factors = {
                part: _read_codes(stored, f"{name}.{part}", *entry)
                for part, entry in repair.factors(shape).items()
            }
        repaired = Repaired(weight=codes, **factors)
        return finished(repaired.dequantize(), name=name, path=self.path)

    def codes(self, name: str) -> QuantizedTensor | None:
        """Return the codes of the canonical tensor ``name``; ``None`` if it is not quantized."""
        scheme = self.description.matrices.get(name.removesuffix(".weight"))
        if scheme is None:
            return None
        with _opened(self.path / WEIGHTS) as stored:
            return _read_codes(stored, name, scheme, tensor_shapes(self.config)[name])

    def stored_bits(self, name: str) -> float:
        """Return the bits that the canonical tensor ``name`` takes in the file."""
        arrays = self.description.arrays()
        with _opened(self.path / WEIGHTS) as stored:
            if arrays.get(name, name) is None:
                return float(8 * stored.get_tensor(name).nbytes)
        parts = (a for n, a in arrays.items() if n.startswith(f"{name}.") and a is not None)
        return float(sum(part.total_bits for part in parts))

    def is_quantized(self, name: str) -> bool:
        """Return whether the canonical tensor ``name`` is stored in codes."""
        return name.removesuffix(".weight") in self.description.matrices

    def has_grid(self, name: str) -> bool:
        """Return ``False``: the grid of codes is not exposed."""
        return False

    def grid_step(self, name: str) -> Tensor:
        """Refuse: only GGUF files give a step."""
        raise UserError(f"dithering needs a GGUF file; {self.name} is a packed checkpoint")

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer beside the weights."""
        path = self.path / TOKENIZER
        backend = parse_tokenizer(read_small_text(path, limit=MAX_TOKENIZER_BYTES), path)
        made = Tokenizer(backend, self.description.prefix_ids)
        return made.checked(self.config.vocab_size, self.path)


def is_packed_checkpoint(path: Path) -> bool:
    """Return whether a directory is a packed checkpoint."""
    return (path / FILE_NAME).is_file()


def open_checkpoint(path: Path) -> PackedCheckpoint:
    """Open a packed checkpoint and check that its arrays are those of its description."""
    description = read_description(path)
    with _opened(path / WEIGHTS) as stored:
        slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
        found = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
    _check(description, found, path)
    return PackedCheckpoint(path=path, description=description)


def _check(
    description: Description, found: dict[str, tuple[str, tuple[int, ...]]], path: Path
) -> None:
    """Refuse missing, misshapen and unknown arrays."""
    layers = description.config.layers
    if layers > len(found):
        raise UserError(
            f"{path / FILE_NAME} says {layers} layers, more than {path / WEIGHTS} has arrays, "
            f"{len(found)}"
        )
    shapes = tensor_shapes(description.config)
    wrong = sorted({f"{n}.weight" for n in description.matrices} - set(shapes))
    if wrong:
        raise UserError(f"{path / FILE_NAME} has a scheme for {wrong[0]}, which the model lacks")
    unrepaired = sorted(set(description.repairs) - set(description.matrices))
    if unrepaired:
        raise UserError(f"{path / FILE_NAME} has a repair of {unrepaired[0]}, which has no scheme")
    try:
        arrays = description.arrays()
    except ValueError as error:
        raise UserError(f"{path / FILE_NAME}: {error}") from None
    expected = {
        name: (FLOAT_TYPES, math.prod(shapes[name]))
        if layout is None
        else ((BYTES,), stored_bytes(layout))
        for name, layout in arrays.items()
    }
    for name in sorted(expected.keys() ^ found.keys()):
        fault = "lacks" if name in expected else "has an unknown"
        raise UserError(f"{path / WEIGHTS} {fault} array {name}")
    for name, (types, size) in expected.items():
        kind, shape = found[name]
        if kind not in types or math.prod(shape) != size:
            raise UserError(
                f"{name} in {path / WEIGHTS} is {kind}{list(shape)}, not {size} values of "
                f"{' or '.join(types)}"
            )


def _read_codes(stored: Any, name: str, scheme: Scheme, shape: tuple[int, ...]) -> QuantizedTensor:
    packed = {e.name: stored.get_tensor(f"{name}.{e.name}") for e in scheme.layout(shape)}
    return from_bytes(scheme, shape, packed)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, "numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(f"can't read {path}: {error}") from None
