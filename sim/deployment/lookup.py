"""What the words of a command mean: machines, accelerators and models, built in or from files."""

import re
from pathlib import Path

from hw.accelerator import (
    Accelerator,
    is_accelerator,
    list_accelerators,
    load_accelerator,
    read_accelerator,
)
from hw.machine import list_machines, read_machine
from hw.matching import Found, find_machine, meant_instead
from numerics.names.suggest import unknown
from roofline.runtime.serving_format import ServingFormat, parse_format
from sim.errors import UserError, user_errors

FILE_SUFFIX = ".toml"


def find_device(text: str) -> Found | Accelerator:
    """Return a machine or an accelerator by its name, or from its TOML file."""
    if text.endswith(FILE_SUFFIX):
        return _from_file(Path(text))
    if match := re.match(r"\s*(\d{4,})\s*[x*]\s*[a-z]", text.lower()):
        raise UserError(f"{match[1]} machines in '{text}'; at most 999")
    if text in list_accelerators():
        return load_accelerator(text)
    with user_errors(ValueError):
        found = find_machine(text)
    if (other := meant_instead(text, found)) is not None:
        near = other, found.machine.name
        raise UserError(unknown("machine", text, list_machines(), see="qsim hw", near=near))
    return found


def _from_file(path: Path) -> Found | Accelerator:
    """Read a machine's file, or an accelerator's, which has keys of its own."""
    with user_errors(ValueError, OSError):
        if path.is_file() and is_accelerator(path):
            return read_accelerator(path)
        return Found(machine=read_machine(path))


def find_format(
    text: str, *, activations: str | None = None, kv: str | None = None
) -> ServingFormat:
    """Return the format of a format and those of activations and KV cache."""
    with user_errors(ValueError):
        return parse_format(text, activations=activations, kv=kv)
