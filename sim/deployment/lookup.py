"""Machines, accelerators and formats by the words of a command, built in or from files."""

from pathlib import Path

from hw.accelerator import (
    Accelerator,
    is_accelerator,
    list_accelerators,
    load_accelerator,
    read_accelerator,
)
from hw.machine import read_machine
from hw.names import Found, find_machine
from roofline.runtime.serving_format import ServingFormat, parse_format
from sim.errors import user_errors

FILE_SUFFIX = ".toml"


def find_device(text: str) -> Found | Accelerator:
    """Return a machine or an accelerator by its name, or from its TOML file."""
    if text.endswith(FILE_SUFFIX):
        return _from_file(Path(text))
    if text in list_accelerators():
        return load_accelerator(text)
    with user_errors(ValueError):
        return find_machine(text)


def _from_file(path: Path) -> Found | Accelerator:
    """Read a machine's file, or an accelerator's, which has keys of its own."""
    with user_errors(ValueError, OSError):
        if path.is_file() and is_accelerator(path):
            return read_accelerator(path)
        return Found(machine=read_machine(path))


def find_format(
    text: str, *, activations: str | None = None, kv: str | None = None
) -> ServingFormat:
    """Return a serving format by its name, with other activations or KV cache if given."""
    with user_errors(ValueError):
        return parse_format(text, activations=activations, kv=kv)
