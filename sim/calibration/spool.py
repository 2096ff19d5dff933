"""Arrays of hidden states: in memory up to a budget, beyond it in a temporary file."""

import math
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.errors import UserError

#: Least memory in bytes that may be asked for: a process with JAX takes it before it has weights.
LEAST_BYTES = 512_000_000.0
EXPONENTS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(slots=True)
class Spool:
    """Memory for hidden states.

    Parameters
    ----------
    budget_bytes : float
        Bytes that all states together may take in memory.
    directory : Path
        Place of the file for states beyond that; the operating system deletes it when the process
        ends, even if it is killed.
    """

    budget_bytes: float = math.inf
    directory: Path = Path()
    _used: int = 0

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an uninitialised float32 array."""
        size = 4 * math.prod(shape)
        if self._used + size <= self.budget_bytes:
            self._used += size
            return np.empty(shape, np.float32)
        free = shutil.disk_usage(self.directory).free
        if size > free:
            raise UserError(
                f"the hidden states need {size / 1e9:,.1f} GB in {self.directory}, which has "
                f"{free / 1e9:,.1f} GB free; use fewer tokens or more --memory"
            )
        # The array keeps the file alive.
        with tempfile.TemporaryFile(dir=self.directory, prefix=".states-") as file:
            return np.memmap(file, np.float32, "w+", shape=shape)


def parse_bytes(text: str) -> float:
    """Return the bytes that a text such as ``6GB`` names.

    >>> parse_bytes("6GB"), parse_bytes("512 mb"), parse_bytes("2GiB")
    (6000000000.0, 512000000.0, 2147483648.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", text.strip().upper())
    if match is None or float(match[1]) == 0:
        raise UserError(f"--memory '{text}' is not a size; write 6GB or 512MB")
    size = float(match[1]) * (1024.0 if match[3] else 1000.0) ** EXPONENTS[match[2]]
    if size < LEAST_BYTES:
        raise UserError(
            f"--memory {text.strip()} is less than qsim takes without a model; give at least "
            f"{LEAST_BYTES / 1e6:.0f}MB"
        )
    return size
