"""The directory for cached downloads and builds."""

import os
from pathlib import Path

CACHE_VARIABLE = "QSIM_CACHE"


def cache_directory() -> Path:
    """Return ``$QSIM_CACHE`` if set, else ``qsim`` in the user's cache directory."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "qsim"
