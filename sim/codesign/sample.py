"""The weights and the windows of text that an accuracy table was measured on, opened again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sim.codesign.accuracy_file import about_sample
from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sources.source import ModelSource
from sim.sources.text import Text
from sim.sweep.engine import Sweep
from sim.sweep.recipe import Recipe
from sim.sweep.scored import read_scored, scored_text
from sim.sweep.windows import Windows

#: Tokens and window of points where no row was measured: those of the built-in tables.
TOKENS, CONTEXT = 4096, 256
_SAMPLE = re.compile(r"([\d,]+) tokens; \d+ non-overlapping windows of ([\d,]+) tokens, (\w+)")
_TEXT = re.compile(r", SHA-256 ([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Names of weights and text, and the windows: small enough to send to other processes."""

    model: str
    #: UTF-8 text; the built-in held-out one if ``None``.
    text: Path | None = None
    tokens: int = TOKENS
    context: int = CONTEXT
    spread: bool = False

    def open(self) -> "OpenSample":
        """Open the model and cut the text into windows."""
        source = open_model(self.model)
        text, windows = scored_text(
            self.text, source, tokens=self.tokens, context=self.context, spread=self.spread
        )
        return OpenSample(name=self, source=source, text=text, windows=windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSample:
    """A model, a text and its windows."""

    name: Sample
    source: ModelSource
    text: Text
    windows: Windows

    @property
    def about(self) -> dict[str, str]:
        """Provenance of rows that are measured on the sample, as accuracy tables give it."""
        return about_sample(
            self.source.content_hash,
            self.text.name,
            self.text.sha256,
            self.windows.tokens.size,
            self.windows.sampling,
        )

    def sweep(self, recipes: tuple[Recipe, ...], directory: Path) -> Sweep:
        """Return the sweep of recipes into a store."""
        return Sweep(
            source=self.source,
            text=self.text,
            windows=self.windows,
            recipes=recipes,
            directory=directory,
        )


def sample_of(about: Mapping[str, str], model: str, text: Path | None) -> OpenSample:
    """Return the sample of a table with rows, with the weights and the text that options name.

    Raises
    ------
    UserError
        The table does not say what it was measured on, or it was other weights or another text.
    """
    size, sha256 = _SAMPLE.match(about.get("sample", "")), _TEXT.search(about.get("text", ""))
    if size is None or sha256 is None or not about.get("model_sha256"):
        raise UserError(
            f"the accuracy table of {model} does not give the hashes of its weights and text and"
            f" its windows, so no point can be added; measure points with 'qsim sweep --model"
            f" {model} --out DIR' and give --accuracy DIR"
        )
    # Before the windows, which another text may be too short for.
    scored = read_scored(text)
    if scored.sha256 != sha256[1]:
        raise UserError(
            f"{scored.name} is not the text of the accuracy table, {about['text']}; give it with"
            " --text"
        )
    tokens, context = (int(number.replace(",", "")) for number in size.groups()[:2])
    found = Sample(
        model=model, text=text, tokens=tokens, context=context, spread=size[3] == "spread"
    ).open()
    if found.source.content_hash != about["model_sha256"]:
        raise UserError(
            f"{model} has other weights than those of the accuracy table, whose SHA-256 begins with"
            f" {about['model_sha256'][:12]}; name the same with --weights"
        )
    if found.about["sample"] != about["sample"]:
        raise UserError(f"the windows of the accuracy table cannot be made: {about['sample']}")
    return found
