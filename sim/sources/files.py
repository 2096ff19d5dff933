"""Reading small files and hashing large ones."""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from sim.errors import UserError


def read_small_text(path: Path, *, limit: int) -> str:
    """Return the text of a UTF-8 file of at most ``limit`` bytes."""
    if not path.is_file():
        raise UserError(f"no {path.name} in {path.parent}")
    if (size := path.stat().st_size) > limit:
        raise UserError(f"{path} has {size} bytes, more than the {limit} that such a file may have")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def read_json(path: Path, *, limit: int) -> dict[str, Any]:
    """Return the JSON object in a file of at most ``limit`` bytes."""
    text = read_small_text(path, limit=limit)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path} is not JSON that can be read: it is nested too deeply") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def hash_of(*parts: str) -> str:
    """SHA-256 of several texts, each delimited by its length."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, cached while its size and time stamp stay the same."""
    status = path.stat()
    return _file_sha256(os.fspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
