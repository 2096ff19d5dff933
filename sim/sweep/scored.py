"""The text that a sweep scores, and its windows."""

from pathlib import Path

from sim.errors import UserError
from sim.sources.embedded import held_out_text
from sim.sources.source import ModelSource
from sim.sources.text import Text, read_text
from sim.sweep.windows import Windows, take_windows


def scored_text(
    path: Path | None, source: ModelSource, *, tokens: int, context: int, spread: bool
) -> tuple[Text, Windows]:
    """Return a text, or without a path the built-in held-out one, and its windows for a model.

    Raises :class:`UserError` for windows that the model cannot read or that score nothing.
    """
    check_context(source, context)
    text = read_scored(path)
    windows = take_windows(text, source.tokenizer(), tokens=tokens, context=context, spread=spread)
    return text, windows


def read_scored(path: Path | None) -> Text:
    """Return the text of a path, or without one the built-in held-out text."""
    return held_out_text() if path is None else read_text(path)


def check_context(source: ModelSource, context: int) -> None:
    """Refuse windows longer than the model's positions, and windows with nothing to score."""
    if context > source.config.max_positions:
        raise UserError(
            f"--context {context} is more than the {source.config.max_positions} positions of "
            f"{source.name}; give at most {source.config.max_positions}"
        )
    if context < 2:
        raise UserError(f"--context {context} leaves nothing to score; give at least 2")
