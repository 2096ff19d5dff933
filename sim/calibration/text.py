"""The calibration set: windows of a text, and its relation to the scored text."""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from sim.sources.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration set: windows of tokens that calibrated methods read."""

    text: Text
    tokens: Int32[np.ndarray, "n context"]

    @property
    def key(self) -> str:
        """Hash of the tokens, equal for sets with equal tokens."""
        shape = f"{self.tokens.shape}".encode()
        return hashlib.sha256(shape + self.tokens.astype("<i4").tobytes()).hexdigest()

    def about(self, scored: Text) -> str:
        """Return the text's name, its size, and whether it is the scored text, for reports."""
        count, length = self.tokens.shape
        same = "the scored text itself" if self.text.sha256 == scored.sha256 else "another text"
        return f"{self.text.name}, {count} windows of {length} tokens; {same}"
