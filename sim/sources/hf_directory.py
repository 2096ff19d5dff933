"""A model in a Hugging Face directory: config.json, safetensors files and tokenizer.json."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import config_from_hf, hf_recipe, read_hf, tensor_shapes
from sim.sources.files import file_sha256, hash_of, read_json
from sim.sources.source import Tensor, finished
from sim.sources.tokenizer import Tokenizer, load_tokenizer

CONFIG = "config.json"
MAX_CONFIG_BYTES = 2**20
MAX_INDEX_BYTES = 2**26
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

#: Storage types that convert to float32 exactly, or by rounding (F64). Eight-bit floats come with
#: scales that differ between tools, so they are not among them.
STORAGE_TYPES = ("F32", "F16", "BF16", "F64")

#: Stored tensors that are not weights: rotary frequencies and causal masks of old checkpoints.
HARMLESS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where a tensor of a checkpoint is, and how it is stored."""

    file: Path
    type: str
    shape: tuple[int, ...]


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
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite: refused
            tensor = read_hf(self.config, name, self._read_raw)
        return finished(tensor, name=name, path=self.path)

    def _read_raw(self, name: str) -> np.ndarray:
        with _opened(self.stored[name].file) as file:
            return np.asarray(file.get_tensor(name))

    def has_grid(self, name: str) -> bool:
        """Tell that floating-point storage has no grid."""
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
        config = config_from_hf(raw)
    except ValueError as error:
        raise UserError(f"{path / 'config.json'}: {error}") from None
    stored = _stored_tensors(path)
    _check(config, stored, path)
    return HfDirectory(name=name or path.resolve().name, path=path, config=config, stored=stored)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open one safetensors file; the library checks its header against its size."""
    try:
        with safe_open(file, framework="numpy") as opened:
            yield opened
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a readable safetensors file: {error}; it may be cut short or damaged"
        ) from None


def _stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """List the tensors of a checkpoint in one file or in shards."""
    if (path / WEIGHTS).is_file():
        return _list_file(path / WEIGHTS)
    if not (path / INDEX).is_file():
        raise UserError(
            f"no {WEIGHTS} nor {INDEX} in {path}; weights must be in safetensors files, "
            "pickled ones (.bin, .pt) are never read"
        )
    weight_map = read_json(path / INDEX, limit=MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{path / INDEX} has no weight_map of tensor names to files")
    files: dict[str, Path] = {
        shard: _shard(path, shard) for shard in dict.fromkeys(map(str, weight_map.values()))
    }
    listed = {shard: _list_file(file) for shard, file in files.items()}
    for tensor, shard in weight_map.items():
        if tensor not in listed[str(shard)]:
            raise UserError(f"{path / INDEX} says that {tensor} is in {shard}, but it is not there")
    return _joined(listed, path)


def _joined(
    listed: Mapping[str, Mapping[str, StoredTensor]], path: Path
) -> dict[str, StoredTensor]:
    """Put the tensors of all shards together; none may be in two."""
    joined: dict[str, StoredTensor] = {}
    for shard, tensors in listed.items():
        for name in joined.keys() & tensors.keys():
            raise UserError(
                f"tensor {name} is in two files of {path}, {joined[name].file.name} and {shard}"
            )
        joined |= tensors
    return joined


def _shard(path: Path, shard: str) -> Path:
    is_plain = re.fullmatch(r"[A-Za-z0-9][\w.-]*\.safetensors", shard, re.ASCII) is not None
    if not is_plain:
        raise UserError(
            f"{path / INDEX} names the file {shard!r}; shards must be plain names of "
            ".safetensors files in the same directory"
        )
    if not (path / shard).is_file():
        raise UserError(f"no {shard} in {path}, but {INDEX} names it; complete the download")
    return path / shard


def _list_file(file: Path) -> dict[str, StoredTensor]:
    with _opened(file) as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
        return {
            name: StoredTensor(file=file, type=part.get_dtype(), shape=tuple(part.get_shape()))
            for name, part in slices.items()
        }


def _check(config: ModelConfig, stored: Mapping[str, StoredTensor], path: Path) -> None:
    """Refuse a checkpoint with missing, misshapen, unreadable or unknown tensors."""
    if config.layers > len(stored):
        raise UserError(f"{path} has {len(stored)} tensors, too few for {config.layers} layers")
    used: set[str] = set()
    for name in tensor_shapes(config):
        recipe = hf_recipe(config, name)
        raw = next((n for n in recipe.names if n in stored), None)
        if raw is None:
            raise UserError(f"{path} has no tensor {recipe.name}, which its configuration needs")
        if stored[raw].shape != recipe.shape:
            raise UserError(
                f"tensor {raw} of {path} has shape {stored[raw].shape}, but the configuration "
                f"asks for {recipe.shape}"
            )
        used.add(raw)
    _check_types({n: stored[n] for n in used}, path)
    _check_rest(config, set(stored) - used, path)


def _check_types(tensors: Mapping[str, StoredTensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.type not in STORAGE_TYPES:
            raise UserError(
                f"tensor {name} of {path} is stored as {tensor.type}; weights must be "
                f"{', '.join(STORAGE_TYPES)}, so use the unquantized checkpoint"
            )


def _check_rest(config: ModelConfig, rest: set[str], path: Path) -> None:
    """Refuse weights that nothing would use; a tied head may be stored a second time."""
    unknown = sorted(n for n in rest if not HARMLESS.search(n))
    if config.tie_embeddings and "lm_head.weight" in unknown:
        unknown.remove("lm_head.weight")
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise UserError(
            f"{path} has tensors that a {config.family} model does not use: "
            f"{', '.join(unknown[:3])}{more}; the model would not compute what was trained"
        )
