"""Where files are kept that can be fetched or made again."""

import os
from pathlib import Path

CACHE_VARIABLE = "QSIM_CACHE"


def cache_directory() -> Path:
    """Return ``QSIM_CACHE``, else qsim in the user's cache."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "qsim"
