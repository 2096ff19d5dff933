"""A model in a Hugging Face directory: config.json, safetensors files and tokenizer.json."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numerics.schemes.scheme import Scheme
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import hf_recipe, read_config, read_hf, tensor_shapes
from sim.sources.files import file_sha256, hash_of, read_json
from sim.sources.hf_check import check_no_adapter, check_tensors, with_stored_head
from sim.sources.hf_files import StoredTensor, list_tensors, opened
from sim.sources.readers.detection import find_layout, plain_config
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import TYPE_BITS
from sim.sources.readers.opening import QuantizedTensors, view
from sim.sources.source import Tensor, finished
from sim.sources.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from numerics import QuantizedTensor

CONFIG = "config.json"
MAX_CONFIG_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class HfDirectory:
    """A model read from a directory; see :class:`sim.sources.source.ModelSource`."""

    name: str
    path: Path
    config: ModelConfig
    stored: Mapping[str, StoredTensor]
    notes: tuple[str, ...] = ()
    #: Layers that are stored quantized, which are among ``stored`` too.
    quantized: QuantizedTensors | None = None

    @property
    def source_types(self) -> dict[str, int]:
        """Number of stored tensors of each storage type."""
        return dict(Counter(tensor.type for tensor in self.stored.values()))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the bytes of the weight files and the configuration."""
        files = sorted({tensor.file for tensor in self.stored.values()})
        layout = [] if self.quantized is None else [repr(self.quantized.layout)]
        return hash_of("safetensors", self.config.text, *layout, *map(file_sha256, files))

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name`` as contiguous float32; of codes, their values."""
        if (decoded := self._decoded(name)) is not None:
            values = decoded.values() if isinstance(decoded, Grid) else decoded
            return finished(values, name=name, path=self.path)
        with np.errstate(over="ignore"):  # a large float64 becomes infinite: refused
            tensor = read_hf(self.config, name, self._read_raw)
        return finished(tensor, name=name, path=self.path)

    def _read_raw(self, name: str) -> np.ndarray:
        with opened(self.stored[name].file) as file:
            return np.asarray(file.get_tensor(name))

    def codes(self, name: str) -> "QuantizedTensor | None":
        """Return a quantized tensor in its scheme; ``None`` in floating point or without one."""
        decoded = self._decoded(name)
        return decoded.quantized() if isinstance(decoded, Grid) else None

    def _decoded(self, name: str) -> Grid | np.ndarray | None:
        """Return the rows of a canonical tensor in a quantized layer; ``None`` if it is in none."""
        found = None if self.quantized is None else self.quantized.layer_of(name)
        if found is None:
            return None
        recipe, decoded = hf_recipe(self.config, name), found.decode()
        if isinstance(decoded, Grid):
            return decoded.rows(recipe.start, recipe.stop)
        return decoded[recipe.start : recipe.stop]

    def stored_bits(self, name: str) -> float:
        """Return the bits that the canonical tensor ``name`` takes in the files."""
        count = math.prod(tensor_shapes(self.config)[name])
        found = None if self.quantized is None else self.quantized.layer_of(name)
        if found is not None:
            return found.bits * count
        return float(TYPE_BITS[self.storage_type(name)] * count)

    def storage_type(self, name: str) -> str:
        """Return the type that the canonical tensor ``name`` is stored in."""
        raw = next(n for n in hf_recipe(self.config, name).names if n in self.stored)
        return self.stored[raw].type

    def is_quantized(self, name: str) -> bool:
        """Return whether the canonical tensor ``name`` is stored in codes."""
        return self.quantized is not None and self.quantized.layer_of(name) is not None

    @property
    def activations(self) -> Mapping[str, Scheme]:
        """Scheme of the inputs of each linear layer that the checkpoint asks for."""
        return {} if self.quantized is None else self.quantized.activations

    @property
    def kv(self) -> Mapping[int, Scheme]:
        """Scheme of the KV cache of each layer that the checkpoint asks for."""
        return {} if self.quantized is None else self.quantized.kv

    def has_grid(self, name: str) -> bool:
        """Return ``False``: floating-point storage has no grid."""
        return False

    def grid_step(self, name: str) -> Tensor:
        """Refuse: floating-point storage has no grid."""
        raise UserError(
            f"the weights of {self.name} are not on a quantization grid; "
            "dithering needs a GGUF file of type Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0"
        )

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the directory."""
        return load_tokenizer(self.path).checked(self.config.vocab_size, self.path)


def open_directory(path: Path, *, name: str | None = None) -> HfDirectory:
    """Open the directory at ``path`` and check that its tensors are those of its configuration."""
    raw = read_json(path / CONFIG, limit=MAX_CONFIG_BYTES)
    try:
        config, config_notes = read_config(plain_config(raw))
    except ValueError as error:
        raise UserError(f"{path / CONFIG}: {error}") from None
    check_no_adapter(path)
    stored: Mapping[str, StoredTensor] = list_tensors(path)
    layout, quantized = find_layout(path, raw, stored), None
    if layout is not None:
        stored, quantized = view(config, layout, stored, path)
    layers = frozenset(quantized.layers) if quantized is not None else frozenset()
    config, head_notes = with_stored_head(config, stored, path, quantized=layers)
    check_tensors(config, stored, path, quantized=layers)
    if quantized is not None:
        quantized = replace(quantized, config=config)
    return HfDirectory(
        name=name or path.resolve().name,
        path=path,
        config=config,
        stored=stored,
        notes=(*config_notes, *head_notes, *_quantized_notes(quantized)),
        quantized=quantized,
    )


def _quantized_notes(quantized: QuantizedTensors | None) -> tuple[str, ...]:
    """Return what to say of the quantized layers of a checkpoint."""
    if quantized is None:
        return ()
    note = (
        f"{len(quantized.layers)} matrices are quantized already, by {quantized.layout.title}; "
        f"float32 is what they dequantize to"
    )
    return (note, *quantized.layout.notes)
