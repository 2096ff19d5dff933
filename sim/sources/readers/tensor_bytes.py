"""Arrays of safetensors files in all storage types, those without a NumPy type among them."""

import json
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sim.errors import UserError
from sim.sources.hf_files import StoredTensor

#: Array type of each storage type of safetensors that has one.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
        "F8_E8M0": ml_dtypes.float8_e8m0fnu,
        "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
        "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip


def read_array(tensor: StoredTensor, name: str) -> np.ndarray:
    """Return a stored tensor; its header was checked when the file was listed."""
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
