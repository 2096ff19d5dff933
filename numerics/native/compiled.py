"""Loops in C++ for what takes long in NumPy: compiled at first use, kept in the user's cache.

Nothing depends on them. Where there is no compiler, or it fails, there is no library, and NumPy
does the same. Where the cache can't be written a process compiles for itself.
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
        known = _run([*command, "-dM", "-E", "-x", "c++", os.devnull])
        made_of = [source.read_text(encoding="utf-8"), *command, known]
        # Loading a damaged file ends the process: what is loaded was checked, and is nobody else's.
        with tempfile.TemporaryDirectory(prefix="qsim-") as folder:
            path = Path(folder) / f"{source.stem}.so"
            build = [*command, "-shared", "-fPIC", "-o", str(path), str(source)]
            memory = cache_directory() / "compiled"
            build_once(path, made_of, lambda: _run(build), memory=memory)
            return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None


def _run(command: list[str]) -> str:
    """Return what a compiler says; raise SubprocessError if it fails or takes too long."""
    done = process.run(command, timeout_s=TIMEOUT_S)
    done.check_returncode()
    return done.stdout
