"""Arrays of safetensors files in all storage types, those without a NumPy type among them."""

import json
import math
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from sim.errors import UserError
from sim.sources.hf_files import StoredTensor


def read_array(tensor: StoredTensor, name: str) -> np.ndarray:
    """Return a stored tensor; its header was checked when the file was listed."""
    # Importing ml_dtypes takes half a second.
    from sim.sources.readers.array_types import DTYPES

    dtype = DTYPES[tensor.type]
    status = os.stat(tensor.file)
    begin = _offsets(tensor.file, status.st_size, status.st_mtime_ns).get(name)
    count = math.prod(tensor.shape)
    if begin is None or begin + count * dtype.itemsize > status.st_size:
        raise UserError(f"{tensor.file} was changed while it was in use")
    raw = np.fromfile(tensor.file, np.uint8, count * dtype.itemsize, offset=begin)
    if raw.size != count * dtype.itemsize:
        raise UserError(f"{tensor.file} was cut short while it was in use")
    return raw.view(dtype).reshape(tensor.shape)


@lru_cache(maxsize=256)
def _offsets(file: Path, size: int, mtime_ns: int) -> dict[str, int]:
    """Return where each tensor begins in a file, which is identified by size and time too."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    return {
        name: 8 + length + int(entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__"
    }
