"""Loops in C++ for what takes long in NumPy: compiled at first use, kept in the user's cache.

Nothing depends on them. Where there is no compiler, or it fails, or the cache can't be written,
there is no library, and NumPy does the same.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from numerics.cache import cache_directory

COMPILERS = ("g++", "clang++")
#: A product and the sum it is added to may be rounded once.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast")
TIMEOUT_S = 60


@functools.cache
def library(source: Path, **macros: str | int) -> ctypes.CDLL | None:
    """Return the compiled ``source`` with these macros, None where that can't be had."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    command = [compiler, *FLAGS, *(f"-D{name}={text}" for name, text in macros.items())]
    try:
        # All macros of the compiler tell its version and what the processor has.
        known = _output([*command, "-dM", "-E", "-x", "c++", os.devnull])
        key = hashlib.sha256(source.read_bytes() + " ".join(command).encode() + known)
        path = cache_directory() / "compiled" / f"{source.stem}-{key.hexdigest()[:16]}.so"
        if not path.exists():
            _compile(command, source, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None


def _compile(command: list[str], source: Path, path: Path) -> None:
    """Put the library in place at once, for several processes may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        partial = Path(folder) / path.name
        _output([*command, "-shared", "-fPIC", "-o", str(partial), str(source)])
        partial.replace(path)


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S).stdout
