"""C++ loops that are slow in NumPy: compiled on first use and kept in the user's cache.

They are optional. Without a compiler, or if compilation fails, callers use equivalent NumPy code.
If the cache is not writable, each process compiles its own library.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from numerics.native import process
from numerics.native.cache import cache_directory
from numerics.native.kept import build_once

COMPILERS = ("g++", "clang++")
#: Compiler flags; they allow fused multiply-adds.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast")
TIMEOUT_S = 60


@functools.cache
def library(source: Path, **macros: str | int) -> ctypes.CDLL | None:
    """Return the compiled ``source`` with these macros, ``None`` if it cannot be compiled."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    command = [compiler, *FLAGS, *(f"-D{name}={text}" for name, text in macros.items())]
    try:
        # The predefined macros identify the compiler version and the processor's features.
        known = _run([*command, "-dM", "-E", "-x", "c++", os.devnull])
        made_of = [source.read_text(encoding="utf-8"), *command, known]
        # Loading a damaged file crashes: load a private copy of a file whose hash was checked.
        with tempfile.TemporaryDirectory(prefix="qsim-") as folder:
            path = Path(folder) / f"{source.stem}.so"
            build = [*command, "-shared", "-fPIC", "-o", str(path), str(source)]
            memory = cache_directory() / "compiled"
            build_once(path, made_of, lambda: _run(build), memory=memory)
            return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None


def _run(command: list[str]) -> str:
    """Return the output of a compiler; raise SubprocessError on failure or timeout."""
    done = process.run(command, timeout_s=TIMEOUT_S)
    done.check_returncode()
    return done.stdout
