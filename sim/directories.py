"""Directories that a command makes for its files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def made_directory(path: Path) -> Iterator[None]:
    """Make a directory; after an error, remove it and the parents made with it if it is empty."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for each in new:
                each.rmdir()
        raise
