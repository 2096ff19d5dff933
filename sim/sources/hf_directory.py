"""A model in a Hugging Face directory: config.json, safetensors files and tokenizer.json."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import read_config, read_hf
from sim.sources.files import file_sha256, hash_of, read_json
from sim.sources.hf_check import check_no_adapter, check_tensors, with_stored_head
from sim.sources.hf_files import StoredTensor, list_tensors, opened
from sim.sources.source import Tensor, finished
from sim.sources.tokenizer import Tokenizer, load_tokenizer

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

    @property
    def source_types(self) -> dict[str, int]:
        """Number of stored tensors of each storage type."""
        return dict(Counter(tensor.type for tensor in self.stored.values()))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the bytes of the weight files and the configuration."""
        files = sorted({tensor.file for tensor in self.stored.values()})
        return hash_of("safetensors", repr(self.config), *map(file_sha256, files))

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name`` as contiguous float32."""
        with np.errstate(over="ignore"):  # a large float64 becomes infinite: refused
            tensor = read_hf(self.config, name, self._read_raw)
        return finished(tensor, name=name, path=self.path)

    def _read_raw(self, name: str) -> np.ndarray:
        with opened(self.stored[name].file) as file:
            return np.asarray(file.get_tensor(name))

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
        config, config_notes = read_config(raw)
    except ValueError as error:
        raise UserError(f"{path / CONFIG}: {error}") from None
    check_no_adapter(path)
    stored = list_tensors(path)
    config, head_notes = with_stored_head(config, stored, path)
    check_tensors(config, stored, path)
    return HfDirectory(
        name=name or path.resolve().name,
        path=path,
        config=config,
        stored=stored,
        notes=(*config_notes, *head_notes),
    )
