"""Windows of text: which tokens a sweep reads and which positions it scores."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from sim.errors import UserError
from sim.sources.text import Text


@runtime_checkable
class Encoder(Protocol):
    """A tokenizer, as far as windows need it."""

    @property
    def bos_id(self) -> int | None:
        """Token that the model expects at the start of its input, if any."""

    def encode(self, text: str) -> Int32[np.ndarray, " n"]:
        """Return the token ids of ``text`` without special tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Non-overlapping windows of tokens, shape (n, context), and how they were taken, in words."""

    tokens: Int32[np.ndarray, "n context"]
    sampling: str

    @property
    def scored(self) -> int:
        """Positions whose token is predicted from others: all but the first of each window."""
        return self.tokens.size - len(self.tokens)


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

    They are consecutive from the start of the text, or with ``spread`` taken evenly over all of
    it. A model with a start-of-sequence token has it as the first position of every window.
    ``options`` names the two options that chose ``tokens`` and ``context``, for messages.
    """
    more, shorter = options
    if tokens < context:
        raise UserError(
            f"{tokens} tokens are less than one window of {context}; "
            f"raise {more} to {context} or lower {shorter}"
        )
    ids = encoder.encode(text.content)
    prefix = [] if encoder.bos_id is None else [encoder.bos_id]
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
        sampling=_describe(count, context, spread=spread, has_prefix=bool(prefix)),
    )


def _what_fits(fits: int, count: int, context: int, options: tuple[str, str]) -> str:
    more, shorter = options
    if fits == 0:
        return f"one window of {context}; give a longer text or lower {shorter}"
    return f"{count} windows of {context} tokens; lower {more} to {fits * context}"


def _describe(count: int, context: int, *, spread: bool, has_prefix: bool) -> str:
    place = "spread evenly over the text" if spread else "consecutive from the start of the text"
    start = ", each after a start-of-sequence token" if has_prefix else ""
    return (
        f"{count} non-overlapping windows of {context} tokens, {place}{start}; "
        f"every position but the first of a window is scored"
    )
