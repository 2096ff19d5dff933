"""Read NumPy zip files from untrusted sources."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from numerics.conformance.pack import Arrays

#: Largest accepted file, in bytes; the files of the pack are much smaller.
MAX_BYTES = 1 << 26
#: Largest size of the header of an array, in bytes.
MAX_HEADER = 4096
SUFFIX = ".npy"
#: Exceptions of :mod:`zipfile` and its decompressors for damaged or malicious files.
_FAULTS = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_foreign(path: Path) -> Arrays:
    """Return the numeric arrays of an npz file by name.

    Memory is allocated for the bytes present, not for the sizes in headers; nothing is unpickled.

    Raises
    ------
    ValueError
        If the file is not a zip of arrays of numbers, is damaged or exceeds :data:`MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(_members(archive))
    except _FAULTS as error:
        raise ValueError(f"cannot read '{path}': {error}") from None


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, np.ndarray]]:
    infos = archive.infolist()
    size = sum(info.file_size for info in infos)
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
    for info in infos:
        if not info.filename.endswith(SUFFIX):
            raise ValueError(f"{info.filename!r} is not an array: it doesn't end in {SUFFIX}")
        content = io.BytesIO(archive.read(info))
        yield info.filename.removesuffix(SUFFIX), _array(content, info.filename)


def _array(content: io.BytesIO, name: str) -> np.ndarray:
    version = npy.read_magic(content)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name!r} is an array of version {version}, not 1 or 2")
    shape, is_fortran, dtype = readers[version](content, max_header_size=MAX_HEADER)
    if dtype.kind not in "biuf":
        raise ValueError(f"{name!r} has {dtype}, not numbers")
    data = content.read()
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != len(data):
        raise ValueError(f"{name!r} has {len(data)} bytes, not those of {dtype}{list(shape)}")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")
