"""Writer of GGUF files that llama.cpp loads."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType

from numerics import QuantizedTensor, quantize
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.mixes import fitting
from numerics.gguf.scheme import GgufScheme
from sim.errors import UserError
from sim.model.config import ModelConfig, RopeConfig
from sim.model.tensors import EMBED_TOKENS, LM_HEAD
from sim.model.yarn import Yarn
from sim.names.gguf_mix import GgufMix
from sim.quantized.gguf_keys import (
    Metadata,
    add_metadata,
    architecture_keys,
    architecture_of,
    linear_factor,
)
from sim.sources.gguf_file import open_gguf
from sim.sources.gguf_layout import Stored, joined, read_stored, stored_tensors
from sim.sources.gguf_tensors import ROPE_FREQS, ROPE_LONG, ROPE_SHORT
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource

#: Version of the block layouts: ``GGML_QNT_VERSION`` of ggml.
QUANTIZATION_VERSION = 2
#: Number of blocks quantized at once.
BATCH = 1024
#: NumPy types of GGUF's floating-point types.
FLOATS = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32}
#: Value instead of a type: the smallest float type that holds every value exactly.
KEEP = "keep"
#: Type of matrices whose rows are not a multiple of any block size.
FALLBACK_FLOAT = "f16"
#: Types that embeddings and head can be given instead of the mix's.
TABLE_TYPES = (*BLOCK_TYPES, *FLOATS, KEEP)

#: Function from a canonical tensor's name to its codes, ``None`` if they are not chosen.
Codes = Callable[[str], QuantizedTensor | None]
Progress = Callable[[list[Stored]], Iterable[Stored]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufPlan:
    """The types of a file: a scheme for each quantized layer, and the types of the rest."""

    #: ``general.file_type``.
    file_type: int
    schemes: Mapping[str, GgufScheme]
    #: Mix that sets the types of embedding and head; ``None`` if they keep theirs.
    tables: GgufMix | None = None
    #: Names of layers that are stored unquantized.
    kept: frozenset[str] = frozenset()
    #: Type of the embedding instead of the mix's; ``head`` is that of the head.
    embedding: str | None = None
    head: str | None = None

    def type_of(self, stored: Stored, config: ModelConfig) -> str:
        """Return the type of a tensor: a block type, a float type or :data:`KEEP`."""
        if not stored.is_matrix:
            return "f32"
        if self.kept & set(stored.layers):
            return KEEP
        if len(found := {self.schemes.get(layer) for layer in stored.layers}) > 1:
            raise UserError(
                f"{', '.join(stored.layers)} are one matrix in GGUF; give them one format"
            )
        scheme = next(iter(found))
        return self._table_type(stored.layers[0], config) if scheme is None else scheme.type_name

    def _table_type(self, layer: str, config: ModelConfig) -> str:
        chosen = {EMBED_TOKENS: self.embedding, LM_HEAD: self.head}.get(layer)
        if layer not in (EMBED_TOKENS, LM_HEAD) or self.tables is None:
            return chosen or KEEP
        return chosen or self.tables.types(config).get(layer, FALLBACK_FLOAT)


def write_gguf(
    source: ModelSource,
    plan: GgufPlan,
    path: Path,
    vocabulary: Metadata,
    progress: Progress = list,
    *,
    codes: Codes | None = None,
) -> None:
    """Write a model into a new file.

    Matrices that ``codes`` returns codes of are written as those, others rounded to nearest.
    Vectors and learned positions are stored in float32. The file's metadata is read back: a model
    that GGUF cannot describe raises UserError.
    """
    config = source.config
    architecture, tensors = architecture_of(config), stored_tensors(config)
    types = {t.name: _settled(source, t, plan.type_of(t, config)) for t in tensors}
    writer = gguf.GGUFWriter(path, architecture)
    try:
        add_metadata(writer, architecture_keys(config))
        add_metadata(writer, vocabulary)
        writer.add_file_type(plan.file_type)
        writer.add_quantization_version(QUANTIZATION_VERSION)
        extra = _rope_tensors(config)
        for name, values in extra.items():
            _announce(writer, name, values.shape, "f32")
        for stored in tensors:
            _announce(writer, stored.name, stored.shape, types[stored.name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for values in extra.values():
            writer.write_tensor_data(values)
        for stored in progress(tensors):
            found = None if codes is None else _chosen(codes, stored, types[stored.name], config)
            if found is None:
                values = read_stored(source, stored)
                found = _encoded(values, types[stored.name], stored.name)
            writer.write_tensor_data(found)
    finally:
        writer.close()
    _check_config(path, config)


def _chosen(codes: Codes, stored: Stored, kind: str, config: ModelConfig) -> np.ndarray | None:
    """Return the blocks of a matrix whose codes are chosen; ``None`` if they are not."""
    blocks = {}
    for name in stored.members if kind in BLOCK_TYPES else ():
        found = codes(name)
        if found is None or found.scheme != GgufScheme(type_name=kind):
            return None
        blocks[name] = np.asarray(found.arrays["blocks"]).reshape(found.shape[0], -1)
    return np.ascontiguousarray(joined(blocks, config)) if blocks else None


def _settled(source: ModelSource, stored: Stored, kind: str) -> str:
    """Return a type that suits the row length; for :data:`KEEP`, the smallest float type."""
    if kind == KEEP:
        narrow = smallest_type(read_stored(source, stored))
        return next(name for name, dtype in FLOATS.items() if narrow.dtype == dtype)
    if kind not in BLOCK_TYPES:
        return kind
    return fitting(kind, stored.shape[-1]) or FALLBACK_FLOAT


def _announce(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: str) -> None:
    ggml_type = _ggml_type(kind)
    block, size = gguf.GGML_QUANT_SIZES[ggml_type]
    count = int(np.prod(shape)) // block * size
    writer.add_tensor_info(name, shape, np.dtype(np.float32), count, raw_dtype=ggml_type)


def _ggml_type(kind: str) -> GGMLQuantizationType:
    name = GgufScheme(type_name=kind).ggml_name if kind in BLOCK_TYPES else kind.upper()
    return GGMLQuantizationType[name]


def _encoded(values: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Return rows as stored in the file."""
    if kind in BLOCK_TYPES:
        return quantized_blocks(values, GgufScheme(type_name=kind))
    narrow = to_float(values, kind, name)
    return narrow.view(np.uint16) if kind == "bf16" else narrow


def quantized_blocks(values: np.ndarray, scheme: GgufScheme) -> np.ndarray:
    """Return the blocks of rows, quantized in batches of one size, so that JAX compiles once."""
    blocks = values.reshape(-1, scheme.group_size)
    found = []
    for start in range(0, len(blocks), BATCH):
        batch = blocks[start : start + BATCH]
        missing = BATCH - len(batch)
        padded = np.pad(batch, ((0, missing), (0, 0)))
        stored = np.asarray(quantize(jnp.asarray(padded), scheme).arrays["blocks"])
        found.append(stored[: len(batch)])
    return np.concatenate(found).reshape(len(values), -1)


def to_float(values: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Return values rounded to a float type; raise UserError for values that overflow it."""
    with np.errstate(over="ignore"):
        narrow: np.ndarray = values.astype(FLOATS[kind])
    if not np.isfinite(narrow).all():
        raise UserError(f"{name} has values that {kind} can't hold; use bf16 or f32")
    return narrow


def _rope_tensors(config: ModelConfig) -> dict[str, np.ndarray]:
    """Return the tensor of divisors of rotary frequencies, if they are not all equal."""
    rope = config.rope
    if rope is None or rope.factors is None or linear_factor(rope) is not None:
        return {}
    factors = np.array(rope.factors, np.float32)
    if rope.long_factors is None:
        return {ROPE_FREQS: factors}
    return {ROPE_LONG: np.array(rope.long_factors, np.float32), ROPE_SHORT: factors}


def _check_config(path: Path, config: ModelConfig) -> None:
    """Raise UserError for a model whose configuration the file's metadata does not reproduce."""
    found = open_gguf(path).config
    for field in dataclasses.fields(config):
        wanted, said = getattr(config, field.name), getattr(found, field.name)
        if field.name != "family" and _as_stored(wanted) != _as_stored(said):
            raise UserError(
                f"GGUF can't describe this model: its {field.name} would be read as {said}, "
                f"not {wanted}"
            )


def _as_stored(value: object) -> object:
    """Return a field of a configuration with float32 in place of all floats."""
    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, tuple):
        return tuple(map(_as_stored, value))
    if isinstance(value, RopeConfig | Yarn):
        return tuple(_as_stored(getattr(value, f.name)) for f in dataclasses.fields(value))
    return value
