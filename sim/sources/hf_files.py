"""The safetensors files of a Hugging Face checkpoint: one file, or shards named in an index."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sim.errors import UserError
from sim.sources.files import read_json

MAX_INDEX_BYTES = 2**26
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
#: Values compared at a time, so that two large tensors never lie in memory whole.
COMPARED_VALUES = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where a tensor of a checkpoint is, and how it is stored."""

    file: Path
    type: str
    shape: tuple[int, ...]


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open one safetensors file; the library checks its header against its size."""
    try:
        with safe_open(file, framework="numpy") as stored:
            yield stored
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a readable safetensors file: {error}; it may be cut short or damaged"
        ) from None


def list_tensors(path: Path) -> dict[str, StoredTensor]:
    """List the tensors of a checkpoint in one file or in shards; refuse a directory with both."""
    weight_map = _weight_map(path) if (path / INDEX).is_file() else None
    if (path / WEIGHTS).is_file():
        others = {str(shard) for shard in (weight_map or {}).values()} - {WEIGHTS}
        if any((path / other).is_file() for other in others):
            raise UserError(
                f"{path} has {WEIGHTS} and also the files of {INDEX}, such as {min(others)}; keep "
                "the one or the others"
            )
        return _list_file(path / WEIGHTS)
    if weight_map is None:
        raise UserError(
            f"no {WEIGHTS} nor {INDEX} in {path}; weights must be in safetensors files, "
            "pickled ones (.bin, .pt) are never read"
        )
    files: dict[str, Path] = {
        shard: _shard(path, shard) for shard in dict.fromkeys(map(str, weight_map.values()))
    }
    listed = {shard: _list_file(file) for shard, file in files.items()}
    for tensor, shard in weight_map.items():
        if tensor not in listed[str(shard)]:
            raise UserError(f"{path / INDEX} says that {tensor} is in {shard}, but it is not there")
    return _joined(listed, path)


def _weight_map(path: Path) -> dict[str, object]:
    """Return the file of each tensor, as the index says it."""
    weight_map = read_json(path / INDEX, limit=MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{path / INDEX} has no weight_map of tensor names to files")
    return weight_map


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
    with opened(file) as stored:
        slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
        return {
            name: StoredTensor(file=file, type=part.get_dtype(), shape=tuple(part.get_shape()))
            for name, part in slices.items()
        }


def file_metadata(file: Path) -> dict[str, str]:
    """Return the metadata in the header of a file."""
    with opened(file) as stored:
        return dict(stored.metadata() or {})


def same_values(stored: Mapping[str, StoredTensor], one: str, other: str) -> bool:
    """Return whether two stored tensors of the same number of axes have equal values.

    Types may differ; numbers are compared as float32. NaN differs from everything.
    """
    a, b = stored[one], stored[other]
    if a.shape != b.shape:
        return False
    rows = a.shape[0]
    step = max(1, COMPARED_VALUES // max(1, math.prod(a.shape[1:])))
    parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    with opened(a.file) as file, opened(b.file) as other_file:
        left, right = file.get_slice(one), other_file.get_slice(other)
        return all(np.array_equal(_floats(left[part]), _floats(right[part])) for part in parts)


def _floats(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)
