"""A safetensors file written tensor by tensor, so that only one is in memory.

The format (https://github.com/huggingface/safetensors) is the header's length in 8 bytes, a JSON
header padded with spaces, and the data. The space for the header is reserved first and filled last.
"""

import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sim.sources.readers.array_types import DTYPES

#: Names of types in the header.
TYPES = {dtype: name for name, dtype in DTYPES.items()}
#: Metadata of files of qsim.
METADATA = {"format": "qsim"}
#: Bytes reserved in the header for a tensor, in addition to its name.
ENTRY_BYTES = 120


class TensorFile:
    """A new safetensors file, open for writing; a context manager."""

    def __init__(
        self,
        path: Path,
        names: Iterable[str],
        written: Mapping[str, Any] | None = None,
        *,
        metadata: Mapping[str, str] = METADATA,
    ) -> None:
        """Reserve a header for tensors of the given names.

        ``written`` is :attr:`written` of an earlier object for the same path, which goes on there.
        """
        self._allowed = set(names)
        reserved = sum(len(json.dumps(name)) + ENTRY_BYTES for name in self._allowed)
        self._header_bytes = -(-(reserved + 64) // 8) * 8
        self._entries: dict[str, Any] = dict(written or {"__metadata__": dict(metadata)})
        ends = [e["data_offsets"][1] for name, e in self._entries.items() if name in self._allowed]
        self._size = max(ends, default=0)
        self._file = path.open("r+b" if written else "wb")
        self._file.truncate(8 + self._header_bytes + self._size)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()

    @property
    def written(self) -> Mapping[str, Any]:
        """Type, shape and place of the tensors written so far, all of them on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._entries

    def add(self, name: str, array: np.ndarray) -> None:
        """Append a tensor."""
        if name not in self._allowed or name in self._entries:
            raise ValueError(f"tensor {name} was not announced, or is written twice")
        data = np.ascontiguousarray(array)
        self._file.write(data.reshape(-1).view(np.uint8).data)
        self._entries[name] = {
            "dtype": TYPES[data.dtype],
            "shape": list(data.shape),
            "data_offsets": [self._size, self._size + data.nbytes],
        }
        self._size += data.nbytes

    def _finish(self) -> None:
        missing = self._allowed - set(self._entries)
        if missing:
            raise ValueError(f"{len(missing)} tensors were not written, such as {min(missing)}")
        header = json.dumps(self._entries, separators=(",", ":")).encode()
        assert len(header) <= self._header_bytes
        self._file.seek(0)
        self._file.write(struct.pack("<Q", self._header_bytes))
        self._file.write(header.ljust(self._header_bytes))
