"""Windows of text: the tokens that a sweep reads and the positions that it scores."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from sim.errors import UserError
from sim.sources.text import Text


@runtime_checkable
class Encoder(Protocol):
    """The part of a tokenizer that windows need."""

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """Tokens that the model expects at the start of its input."""

    def encode(self, text: str) -> Int32[np.ndarray, " n"]:
        """Return the token ids of ``text`` without special tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Non-overlapping windows of tokens, shape (n, context), and a description of their choice."""

    tokens: Int32[np.ndarray, "n context"]
    sampling: str
    #: Tokens at the start of each window that are not scored: those before the text, at least one.
    unscored: int = 1

    @property
    def scored(self) -> int:
        """Number of scored positions: all but the first ``unscored`` of each window."""
        return self.tokens.size - len(self.tokens) * self.unscored


def take_windows(
    text: Text,
    encoder: Encoder,
    *,
    tokens: int,
    context: int,
    spread: bool,
    options: tuple[str, str] = ("--tokens", "--context"),
) -> Windows:
    """Cut ``tokens // context`` windows from ``text``.

    They are consecutive from the start of the text, or with ``spread`` spaced evenly over it. If
    the model expects tokens before a text, such as a start-of-sequence token, every window begins
    with them.
    ``options`` names the two options that set ``tokens`` and ``context``, for messages.
    """
    more, shorter = options
    if tokens < context:
        raise UserError(
            f"{tokens} tokens are less than one window of {context}; "
            f"raise {more} to {context} or lower {shorter}"
        )
    ids = encoder.encode(text.content)
    prefix = encoder.prefix_ids
    if context <= len(prefix):
        raise UserError(
            f"{shorter} {context} leaves no room for text after the {len(prefix)} tokens that the "
            f"model expects before it; raise {shorter}"
        )
    count, step = tokens // context, context - len(prefix)
    if len(ids) < count * step:
        what = f"text {text.name} has {len(ids)} tokens, too short for"
        raise UserError(f"{what} {_what_fits(len(ids) // step, count, context, options)}")
    starts = np.arange(count) * step
    if spread and count > 1:
        starts = np.arange(count) * (len(ids) - step) // (count - 1)
    body = ids[starts[:, None] + np.arange(step)]
    start = np.tile(np.array(prefix, np.int32), (count, 1))
    return Windows(
        tokens=np.concatenate([start, body], axis=1).astype(np.int32),
        sampling=_describe(count, context, len(prefix), spread=spread),
        unscored=max(1, len(prefix)),
    )


def _what_fits(fits: int, count: int, context: int, options: tuple[str, str]) -> str:
    more, shorter = options
    if fits == 0:
        return f"one window of {context}; give a longer text or lower {shorter}"
    return f"{count} windows of {context} tokens; lower {more} to {fits * context}"


def _describe(count: int, context: int, prefix: int, *, spread: bool) -> str:
    place = "spread evenly over the text" if spread else "consecutive from the start of the text"
    start, first = "", "first"
    if prefix == 1:
        start = ", each after a start-of-sequence token"
    elif prefix > 1:
        start, first = f", each after {prefix} special tokens", f"first {prefix}"
    return (
        f"{count} non-overlapping windows of {context} tokens, {place}{start}; "
        f"every position but the {first} of a window is scored"
    )
