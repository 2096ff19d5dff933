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
from roofline.model.model_names import known_model
from roofline.model.model_shape import ModelShape, read_model
from roofline.runtime.serving_format import ServingFormat, parse_format
from sim.errors import UserError

FILE_SUFFIX = ".toml"


def find_device(text: str) -> Found | Accelerator:
    """Return a machine or an accelerator by its name, or from its TOML file."""
    if text.endswith(FILE_SUFFIX):
        return _from_file(Path(text))
    if match := re.match(r"\s*(\d{4,})\s*[x*]\s*[a-z]", text.lower()):
        raise UserError(f"{match[1]} machines in '{text}'; at most 999")
    if text in list_accelerators():
        return load_accelerator(text)
    try:
        found = find_machine(text)
    except ValueError as error:
        raise UserError(str(error)) from None
    if (other := meant_instead(text, found)) is not None:
        near = other, found.machine.name
        raise UserError(unknown("machine", text, list_machines(), see="qsim hw", near=near))
    return found


def _from_file(path: Path) -> Found | Accelerator:
    """Read a machine's file, or an accelerator's, which has keys of its own."""
    try:
        if path.is_file() and is_accelerator(path):
            return read_accelerator(path)
        return Found(machine=read_machine(path))
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None


def find_shape(text: str) -> ModelShape:
    """Return a model by its name, or from its TOML file."""
    try:
        return read_model(Path(text)) if text.endswith(FILE_SUFFIX) else known_model(text)
    except ValueError as error:
        raise UserError(str(error)) from None


def find_format(
    text: str, *, activations: str | None = None, kv: str | None = None
) -> ServingFormat:
    """Return the format of a format and those of activations and KV cache."""
    try:
        return parse_format(text, activations=activations, kv=kv)
    except ValueError as error:
        raise UserError(str(error)) from None
