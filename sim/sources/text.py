"""Texts that a model is measured on: read from a file, known by a hash."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sim.errors import UserError

#: Limit on a text file: its tokens and strings are held in memory at once.
MAX_TEXT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text with the name it is shown by and the hash it is known by."""

    name: str
    content: str
    sha256: str


def read_text(path: Path, *, option: str = "--text") -> Text:
    """Read a UTF-8 text file of at most 256 MiB, line ends translated as Python's text mode does.

    The hash is that of the bytes as they are. ``option`` names the option that gave the path, for
    messages.
    """
    if not path.is_file():
        raise UserError(f"no text file at {path}; {option} takes the path of a UTF-8 file")
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise UserError(f"{path} has {size} bytes, more than {MAX_TEXT_BYTES}; give a part of it")
    raw = path.read_bytes()
    content = decoded(raw, path).replace("\r\n", "\n").replace("\r", "\n")
    return Text(name=path.name, content=content, sha256=hashlib.sha256(raw).hexdigest())


def decoded(raw: bytes, path: Path) -> str:
    """Return the text of a file's bytes; refuse what is not UTF-8 with the place and a remedy."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{raw[error.start]:02x}; "
            f"convert the file, as with iconv -t UTF-8"
        ) from None
