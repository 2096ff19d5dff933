"""The small model that comes with qsim, and the text that it was not trained on."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

from sim.errors import UserError
from sim.sources.hf_directory import HfDirectory, open_directory
from sim.sources.known import EMBEDDED_ID
from sim.sources.text import Text, read_text

CALIBRATION_NAME, HELD_OUT_NAME = "built-in calibration text", "built-in held-out text"
SECOND_NAME = "built-in second text (Python's language reference)"
FILES = (
    "config.json", "tokenizer.json", "model.safetensors", "held_out.txt", "calibration.txt",
    "second.txt",
)  # fmt: skip


def embedded_directory() -> Path:
    """Return the directory of the embedded model; refuse an installation that lacks it."""
    directory = resources.files("sim") / "data" / "embedded"
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing or not isinstance(directory, Path):
        raise UserError(
            f"this installation of qsim lacks {', '.join(missing) or 'a directory'} of the "
            "embedded model; reinstall it, or give --model a directory or a .gguf file"
        )
    return directory


def open_embedded() -> HfDirectory:
    """Open the embedded model."""
    return open_directory(embedded_directory(), name=EMBEDDED_ID)


def calibration_text() -> Text:
    """Return a part of the text that the embedded model was trained on, for calibrated methods."""
    path = embedded_directory() / "calibration.txt"
    return replace(read_text(path), name=CALIBRATION_NAME)


def held_out_text() -> Text:
    """Return the text that the embedded model was not trained on."""
    return replace(read_text(embedded_directory() / "held_out.txt"), name=HELD_OUT_NAME)


def second_text() -> Text:
    """Return a text of another kind, the language reference of Python."""
    path = embedded_directory() / "second.txt"
    return replace(read_text(path), name=SECOND_NAME)
