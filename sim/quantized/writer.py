"""Writer of models as packed checkpoints or GGUF files."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save_file

from numerics import QuantizedTensor, Scheme, quantize
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.scheme import GgufScheme
from numerics.schemes.storage import to_bytes
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names, tensor_shapes
from sim.names.gguf_mix import FILE_TYPES, GgufMix
from sim.quantized.gguf_vocabulary import general_keys, vocabulary_keys
from sim.quantized.gguf_writer import FLOATS, KEEP, TABLE_TYPES, GgufPlan, to_float, write_gguf
from sim.sources.packed_description import FILE_NAME, TOKENIZER, WEIGHTS, Description
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe, Rule, embedding_names, plan
from sim.sweep.weights import calibrated_codes

#: Name of the GGUF file in a directory.
GGUF_NAME = "model.gguf"
#: ``general.file_type`` of files in floating point, and in MXFP4 (with other tensors in Q8_0).
FLOAT_FILE, MXFP4_FILE = 0, 38
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTypes:
    """Types of the embedding and of an untied head, which recipes leave in floating point.

    ``None`` is llama.cpp's choice in a GGUF file; in a packed checkpoint the smallest float type
    that holds every value, with FP16 instead of float32.
    """

    embeddings: str | None = None
    head: str | None = None


def write_model(
    source: ModelSource,
    recipe: Recipe,
    out: Path,
    tables: TableTypes = TableTypes(),
    calibration: Calibration | None = None,
) -> Path:
    """Quantize ``source`` by the weight schemes of ``recipe`` into a new file or directory.

    ``out`` appears only when everything is written. Schemes that are all block types of GGUF make a
    GGUF file: ``out`` itself if its name ends in ``.gguf``, else ``model.gguf`` in a directory. A
    recipe without schemes makes a ``.gguf`` file in floating point.

    Other schemes make a directory with ``qsim.json``, ``tokenizer.json`` and ``model.safetensors``
    (codes and side data as ``NAME.weight.codes`` and so on, bytes; norms, biases and kept layers in
    the smallest float type that holds their values). Codes are those that the recipe's methods
    choose, the calibrated ones on the windows of ``calibration``.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new file or directory")
    planned = plan(recipe, source.config)
    schemes = planned.weights
    blocks = {name: s for name, s in schemes.items() if isinstance(s, GgufScheme)}
    wants_file = out.suffix.lower() == ".gguf"
    is_gguf = len(blocks) == len(schemes) and (bool(blocks) or wants_file)
    if wants_file and not is_gguf:
        known = ", ".join(dict.fromkeys((*BLOCK_TYPES, *FILE_TYPES)))
        raise UserError(
            f"{recipe.name} has no block type in GGUF, so it can't be {out.name}; formats of GGUF "
            f"are {known}, and others are written to a directory"
        )
    _check_tables(tables, is_gguf=is_gguf)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        if is_gguf:
            gguf_plan = _gguf_plan(recipe, source, blocks, tables)
            vocabulary = general_keys(source) | vocabulary_keys(source)
            write_gguf(source, gguf_plan, staging / GGUF_NAME, vocabulary, _tracked)
        else:
            codes = calibrated_codes(source, planned, calibration)
            _write_packed(source, recipe, schemes, tables, staging, codes)
        for path in (staging, *staging.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.replace(staging / GGUF_NAME if wants_file else staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _check_tables(tables: TableTypes, *, is_gguf: bool) -> None:
    known = TABLE_TYPES if is_gguf else (*FLOATS, KEEP)
    for option, name in (("--embeddings", tables.embeddings), ("--head", tables.head)):
        if name is not None and name not in known:
            what = "a GGUF file" if is_gguf else "a packed checkpoint"
            raise UserError(f"{option} {name}: in {what} it can be {', '.join(known)}")


def _gguf_plan(
    recipe: Recipe, source: ModelSource, schemes: dict[str, GgufScheme], tables: TableTypes
) -> GgufPlan:
    names = (*linear_names(source.config), *embedding_names(source.config))
    if not schemes:
        return GgufPlan(file_type=FLOAT_FILE, schemes={}, kept=frozenset(names))
    mix, file_type = _mix_of(recipe, schemes)
    skipped = [rule.match for rule in recipe.rules if rule == Rule(match=rule.match)]
    kept = {name for name in names if any(fnmatchcase(name, match) for match in skipped)}
    return GgufPlan(
        file_type=file_type,
        schemes={name: s for name, s in schemes.items() if name not in _chosen(tables)},
        tables=mix,
        kept=frozenset(kept),
        embedding=tables.embeddings,
        head=tables.head,
    )


def _mix_of(recipe: Recipe, schemes: dict[str, GgufScheme]) -> tuple[GgufMix, int]:
    """Return the mix of a recipe, or the pure one of its block type, and its file type."""
    mix = next((r.weights for r in recipe.rules if isinstance(r.weights, GgufMix)), None)
    kind = mix.kind if mix else min(scheme.type_name for scheme in schemes.values())
    if kind == "mxfp4-gguf":
        return GgufMix("q8_0"), MXFP4_FILE
    kind = f"{kind}_s" if mix is None and f"{kind}_s" in FILE_TYPES else kind
    return GgufMix(kind), FILE_TYPES[kind]


def _chosen(tables: TableTypes) -> tuple[str, ...]:
    pairs = ((EMBED_TOKENS, tables.embeddings), (LM_HEAD, tables.head))
    return tuple(name for name, kind in pairs if kind is not None)


def _write_packed(
    source: ModelSource,
    recipe: Recipe,
    schemes: dict[str, Scheme],
    tables: TableTypes,
    directory: Path,
    codes: Mapping[str, QuantizedTensor],
) -> None:
    tokenizer = source.tokenizer()
    description = Description(
        model=source.name,
        source_sha256=source.content_hash,
        recipe=recipe.name,
        matrices=schemes,
        config=source.config,
        bos_id=tokenizer.bos_id,
    )
    tensors = _tensors(source, schemes, tables, codes)
    save_file(tensors, directory / WEIGHTS, metadata={"format": "qsim"})
    tokenizer.backend.save(str(directory / TOKENIZER))
    (directory / FILE_NAME).write_text(description.to_json(), encoding="utf-8")


def _tensors(
    source: ModelSource,
    schemes: dict[str, Scheme],
    tables: TableTypes,
    codes: Mapping[str, QuantizedTensor],
) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    chosen = {f"{EMBED_TOKENS}.weight": tables.embeddings, f"{LM_HEAD}.weight": tables.head}
    for name in _tracked(list(tensor_shapes(source.config))):
        layer = name.removesuffix(".weight")
        values, scheme = source.read(name), schemes.get(layer)
        if scheme is None:
            is_table = name in chosen
            tensors[name] = _table(values, chosen[name]) if is_table else smallest_type(values)
        else:
            found = codes.get(layer)
            packed = to_bytes(quantize(jnp.asarray(values), scheme) if found is None else found)
            tensors |= {f"{name}.{array}": stored for array, stored in packed.items()}
    return tensors


def _table(values: np.ndarray, kind: str | None) -> np.ndarray:
    """Return an embedding or a head in the chosen type, by default in 16 bits."""
    if kind in FLOATS:
        return to_float(values, kind, "the embedding")
    narrow = smallest_type(values)
    if kind == KEEP or narrow.dtype != np.float32:
        return narrow
    has_room = np.abs(values).max() <= np.finfo(np.float16).max
    return to_float(values, "f16" if has_room else "bf16", "the embedding")


def _tracked(items: list[Item]) -> Iterable[Item]:
    """Return the items, with a progress bar on the terminal."""
    console = Console(stderr=True)
    # A bar in a pipe or a file would be an empty line.
    hidden = not console.is_terminal
    return track(items, "Quantizing", console=console, transient=True, disable=hidden)
