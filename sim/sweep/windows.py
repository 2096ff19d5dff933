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
    def bos_id(self) -> int | None:
        """Token that the model expects at the start of its input, if any."""

    def encode(self, text: str) -> Int32[np.ndarray, " n"]:
        """Return the token ids of ``text`` without special tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Non-overlapping windows of tokens, shape (n, context), and a description of their choice."""

    tokens: Int32[np.ndarray, "n context"]
    sampling: str

    @property
    def scored(self) -> int:
        """Number of scored positions: all but the first of each window."""
        return self.tokens.size - len(self.tokens)


def take_windows(
    text: Text, encoder: Encoder, *, tokens: int, context: int, spread: bool
) -> Windows:
    """Cut ``tokens // context`` windows from ``text``.

    They are consecutive from the start of the text, or with ``spread`` spaced evenly over it. If
    the model has a start-of-sequence token, it is the first position of every window.
    """
    if tokens < context:
        raise UserError(
            f"{tokens} tokens are less than one window of {context}; "
            f"raise --tokens to {context} or lower --context"
        )
    ids = encoder.encode(text.content)
    prefix = [] if encoder.bos_id is None else [encoder.bos_id]
    count, step = tokens // context, context - len(prefix)
    if len(ids) < count * step:
        raise UserError(_too_short(text.name, len(ids), count=count, step=step, context=context))
    starts = np.arange(count) * step
    if spread and count > 1:
        starts = np.arange(count) * (len(ids) - step) // (count - 1)
    body = ids[starts[:, None] + np.arange(step)]
    start = np.tile(np.array(prefix, np.int32), (count, 1))
    return Windows(
        tokens=np.concatenate([start, body], axis=1).astype(np.int32),
        sampling=_describe(count, context, spread=spread, has_prefix=bool(prefix)),
    )


def _too_short(name: str, length: int, *, count: int, step: int, context: int) -> str:
    fits = length // step
    if fits == 0:
        return (
            f"text {name} has {length} tokens, too short for one window of {context}; "
            f"give a longer text or lower --context"
        )
    return (
        f"text {name} has {length} tokens, too short for {count} windows of {context}; "
        f"lower --tokens to {fits * context}"
    )


def _describe(count: int, context: int, *, spread: bool, has_prefix: bool) -> str:
    place = "spread evenly over the text" if spread else "consecutive from the start of the text"
    start = ", each after a start-of-sequence token" if has_prefix else ""
    return (
        f"{count} non-overlapping windows of {context} tokens, {place}{start}; "
        f"every position but the first of a window is scored"
    )
