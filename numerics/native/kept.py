"""A build cache: files that take long to build, stored under the hash of their inputs."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

#: Size limit of a cache folder in bytes; the builds of all PEs take 18 MB.
LIMIT_BYTES = 128 * 2**20


def build_once(
    target: Path, made_of: Iterable[str], build: Callable[[], object], *, memory: Path | None
) -> None:
    """Build an executable file, or copy it from ``memory`` if that has one of the same inputs.

    ``made_of`` lists all inputs: sources, commands and versions of tools. A cached file starts with
    its hash. Damaged files are rebuilt, as are files that another user may have written, because
    they are executed. A file that cannot be cached is built each time. The least recently used
    files are removed when the folder exceeds :data:`LIMIT_BYTES`.
    """
    if memory is None:
        build()
        return
    known = memory / hashlib.sha256("\0".join(made_of).encode()).hexdigest()
    content = _recall(known)
    if content is None:
        build()
        _remember(known, target.read_bytes())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755)


def _recall(known: Path) -> bytes | None:
    """Return a cached file, ``None`` if it is missing, damaged or not safe to run."""
    try:
        with known.open("rb") as file:
            is_safe = _is_of_this_user(os.fstat(file.fileno()))
            found = file.read() if is_safe else b""
    except OSError:
        return None
    digest, content = found[:32], found[32:]
    if digest != hashlib.sha256(content).digest():
        return None
    with suppress(OSError):
        os.utime(known)
    return content


def _is_of_this_user(file: os.stat_result) -> bool:
    """Whether only this user or root can have written a file."""
    return file.st_uid in (0, os.getuid()) and not file.st_mode & stat.S_IWOTH


def _remember(known: Path, content: bytes) -> None:
    put_whole(known, hashlib.sha256(content).digest() + content)
    with suppress(OSError):
        _trim(known.parent)


def put_whole(path: Path, content: bytes) -> None:
    """Write a file atomically, or not at all if the system refuses."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _trim(folder: Path) -> None:
    """Remove the least recently used files until the rest fit :data:`LIMIT_BYTES`."""
    used: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        # Another process may have removed the file.
        with suppress(FileNotFoundError):
            used.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(used, reverse=True):
        total += size
        if total > LIMIT_BYTES:
            path.unlink(missing_ok=True)
