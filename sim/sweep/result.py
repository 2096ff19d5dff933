"""One finished point of a sweep: all measurements, and their model, text and recipe.

A field that reports show has a :class:`Column`: its heading, number format and meaning. Tables, CSV
files and pages read the columns from here, in the order of the fields.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How reports show a field of :class:`PointResult`."""

    title: str
    #: Format specification of the number, as in an f-string.
    spec: str = ""
    #: Short description for readers of a report.
    meaning: str
    #: Name of the field with the standard error; ``None`` if there is none.
    error: str | None = None
    #: Function that returns the number shown for a field with several numbers.
    summary: Callable[[Any], float | None] | None = None


def _shown(
    title: str,
    meaning: str,
    spec: str = "",
    *,
    error: str | None = None,
    summary: Callable[[Any], float | None] | None = None,
) -> dict[str, Column]:
    """Return the metadata of a field that reports show."""
    return {"column": Column(title=title, meaning=meaning, spec=spec, error=error, summary=summary)}


def _median(levels: Mapping[str, float]) -> float | None:
    return statistics.median(levels.values()) if levels else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondResult:
    """A point on windows of a second text: means over them with their standard errors."""

    text: str
    tokens: int
    windows: int
    kl_mean: float
    kl_mean_se: float | None
    delta_nats: float
    delta_nats_se: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResult:
    """One recipe on one model and one sample of text.

    Differences are against the float32 run of the same model on the same windows. The float model
    itself is the recipe ``float32``; its differences are 0, its agreement 1 and its ``sqnr_db``
    empty. Measurements may be infinite or NaN. Standard errors are over windows and ``None`` with
    fewer than :data:`sim.sweep.statistics.MIN_WINDOWS`.
    """

    model: str
    recipe: str = field(metadata=_shown("recipe", "what is quantized, and how"))
    text: str
    #: Number of tokens read, including the first positions of windows.
    tokens: int
    #: Window length in tokens.
    context: int
    #: Description of the choice of windows and scored positions.
    sampling: str
    #: Number of scored positions: every position but the first of each window.
    scored: int
    #: Size of the model's vocabulary; a uniform guess has this perplexity.
    vocab_size: int
    kl_mean: float = field(
        metadata=_shown(
            "KL (nats)",
            "mean divergence of the next-token distribution from that of float32; the ranking",
            ".4f",
            error="kl_mean_se",
        )
    )
    kl_mean_se: float | None
    bits_per_weight: float = field(
        metadata=_shown(
            "bits/weight",
            "mean over the linear layers and other quantized matrices, including side data",
            ".3f",
        )
    )
    delta_nats: float = field(
        metadata=_shown(
            "loss (nats)",
            "mean negative log-likelihood less that of float32 on the same windows",
            "+.4f",
            error="delta_nats_se",
        )
    )
    delta_nats_se: float | None
    perplexity: float = field(metadata=_shown("perplexity", "on the same windows", ",.2f"))
    top1_agreement: float = field(
        metadata=_shown("top-1", "positions whose likeliest token is that of float32", ".1%")
    )
    kl_p99: float = field(
        metadata=_shown("KL p99", "99th percentile of the divergence over positions", ".3f")
    )
    #: Signal to quantization-noise ratio of each quantized matrix, in dB.
    sqnr_db: dict[str, float] = field(
        metadata=_shown(
            "SQNR dB",
            "signal to quantization noise of the weights, median over matrices",
            ".1f",
            summary=_median,
        )
    )
    weight_bytes: int = field(
        metadata=_shown(
            "MB",
            "the weights that bits/weight counts, as the format stores them",
            ",.2f",
            summary=lambda count: count / 1e6,
        )
    )
    #: Bytes of all tensors of the model, with unquantized tensors in float32.
    model_bytes: int
    definition: str = field(metadata=_shown("definition", "the recipe's schemes in full"))
    #: Speed of the simulation (not of the format) in tokens/s; stored, but not reported.
    tokens_per_s: float
    wall_s: float
    #: Mean of each window: divergence from float32; ``window_delta_nats``: loss minus float32's.
    window_kl: tuple[float, ...]
    window_delta_nats: tuple[float, ...]
    #: The same on a second text, in sweeps with calibrated methods.
    second: SecondResult | None = None
    #: Caveats for the reader, such as a source whose weights already lie on a grid.
    notes: tuple[str, ...] = ()
    #: Content hashes and versions that form the store's key.
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def windows(self) -> int:
        """Number of windows, the sample size of every standard error."""
        return len(self.window_kl)

    @property
    def is_worse_than_uniform(self) -> bool:
        """Whether the perplexity exceeds that of a uniform guess over the vocabulary."""
        return not self.perplexity <= self.vocab_size

    def to_json(self) -> str:
        """Return one line of JSON with the field names as keys.

        JSON has no infinity and no NaN: they are the strings ``"inf"``, ``"-inf"`` and ``"nan"``.
        """
        return json.dumps(_spelled(dataclasses.asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "PointResult":
        """Return the result in a line written by :meth:`to_json`."""
        raw: dict[str, Any] = json.loads(line)
        for name in MEASURED & raw.keys():
            raw[name] = _read(raw[name])
        raw["notes"] = tuple(raw["notes"])
        if raw.get("second") is not None:
            second = {k: _read(v) if k in MEASURED else v for k, v in raw["second"].items()}
            raw["second"] = SecondResult(**second)
        return cls(**raw)


#: Columns of reports by field.
COLUMNS: dict[str, Column] = {
    f.name: f.metadata["column"] for f in dataclasses.fields(PointResult) if "column" in f.metadata
}
#: Fields that may hold infinities or NaN, which JSON cannot represent.
MEASURED = {
    "kl_mean", "kl_mean_se", "delta_nats", "delta_nats_se", "perplexity", "kl_p99", "sqnr_db",
    "window_kl", "window_delta_nats",
}  # fmt: skip


def _spelled(value: Any) -> Any:
    """Return the value with strings in place of infinities and NaN."""
    match value:
        case dict():
            return {key: _spelled(each) for key, each in value.items()}
        case tuple() | list():
            return [_spelled(each) for each in value]
        case float() if not math.isfinite(value):
            return str(value)
    return value


def _read(value: Any) -> Any:
    """Return the inverse of :func:`_spelled`."""
    match value:
        case dict():
            return {key: _read(each) for key, each in value.items()}
        case list():
            return tuple(_read(each) for each in value)
        case str():
            return float(value)
    return value
