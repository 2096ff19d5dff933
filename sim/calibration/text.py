"""The calibration set: windows of a text, and its relation to the scored text."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from sim.sources.embedded import CALIBRATION_NAME, HELD_OUT_NAME
from sim.sources.text import Text

#: Words in a phrase, and the share of phrases from which on texts count as overlapping.
PHRASE, SAME_CORPUS = 13, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration set: windows of tokens that calibrated methods read."""

    text: Text
    tokens: Int32[np.ndarray, "n context"]
    #: Directory that keeps the float model's statistics, which all formats then read; ``None`` for
    #: statistics behind the quantized blocks of each format.
    statistics: Path | None = None

    @property
    def key(self) -> str:
        """Hash of the tokens, and whether inputs are those of the float model."""
        shape = f"{self.tokens.shape}".encode() + (b"float" if self.statistics else b"")
        return hashlib.sha256(shape + self.tokens.astype("<i4").tobytes()).hexdigest()

    def about(self, scored: Text) -> str:
        """Return the text's name, its size, and how near it is to the scored text, for reports."""
        count, length = self.tokens.shape
        plural = "window" if count == 1 else "windows"
        inputs = ", inputs of the float model" if self.statistics else ""
        size = f"{count} {plural} of {length} tokens{inputs}"
        return f"{self.text.name}, {size}; {self._nearness(scored)}"

    def _nearness(self, scored: Text) -> str:
        if self.text.sha256 == scored.sha256:
            return "the scored text itself"
        if {self.text.name, scored.name} == {CALIBRATION_NAME, HELD_OUT_NAME}:
            return "of the scored text's corpus, without a document of it"
        share = shared_phrases(self.text.content, scored.content)
        if share >= SAME_CORPUS:
            return f"overlaps the scored text: {share:.0%} of its phrases occur there"
        return f"another text: {share:.1%} of its phrases of {PHRASE} words occur in the scored one"


# Every calibrated point of a sweep asks for the same two texts.
@lru_cache(maxsize=1)
def shared_phrases(text: str, other: str) -> float:
    """Return the share of a text's phrases of :data:`PHRASE` words that occur in another text.

    Phrases of 13 words are the usual test for overlaps of corpora (arXiv:2005.14165, appendix C).

    Examples
    --------
    >>> shared_phrases("a b c d e f g h i j k l m n", "x b c d e f g h i j k l m n")
    0.5
    """
    found = phrases(text)
    return len(found & phrases(other)) / len(found) if found else 0.0


def phrases(text: str) -> set[int]:
    """Return hashes of all phrases of :data:`PHRASE` words."""
    words = text.split()
    return {hash(tuple(words[i : i + PHRASE])) for i in range(len(words) - PHRASE + 1)}
