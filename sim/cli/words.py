"""Positional words of a command: models, wherever they stand.

``--format fp4 int4`` consumes all words after it, so a model may be among them: in
``qsim roofline --hw a100 --format fp4 llama-3.1-8b`` the last word is a model.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sim.errors import UserError

#: ``owner/name`` of the Hugging Face hub.
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


def without_models(
    names: Sequence[str], *, files: Sequence[str] = (".gguf", ".toml")
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split words into names of formats or machines, and names of models.

    ``files`` are the suffixes of files that are models.

    >>> without_models(("fp4", "embedded", "int4:g64", "llama-3.1-8b"))
    (('fp4', 'int4:g64'), ('embedded', 'llama-3.1-8b'))
    """
    found = {name: name.endswith(tuple(files)) or names_model(name) for name in names}
    return (
        tuple(name for name in names if not found[name]),
        tuple(name for name in names if found[name]),
    )


def names_model(word: str) -> bool:
    """Return whether a word is the name, the directory or the hub id of a model."""
    from roofline.model.model_names import find_model
    from sim.formats.lookup import is_format
    from sim.sources.known import EMBEDDED_ID, KNOWN

    if word == EMBEDDED_ID or word in KNOWN or _HUB_ID.fullmatch(word):
        return True
    if Path(word).expanduser().is_dir():
        # A directory may have the name of a format, such as the --out of a sweep.
        return not is_format(word)
    return find_model(word) is not None


def only_model(words: Sequence[str], option: str, *, default: str) -> str:
    """Return the model named by a word or by ``--model``; raise UserError for several."""
    named = dict.fromkeys([*words, *([option] if option != default else [])])
    if len(named) > 1:
        raise UserError(f"{len(named)} models, {' and '.join(named)}; this command takes one")
    return next(iter(named), option)
