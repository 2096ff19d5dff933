"""One finished point of a sweep: everything measured, and what it was measured on."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PointResult:
    """One recipe on one model and one sample of text.

    Differences are against the float32 run of the same model on the same windows. The float model
    itself is the recipe ``float32``; its differences are 0, its agreement 1 and its ``sqnr_db``
    empty.
    """

    model: str
    recipe: str
    text: str
    #: Tokens read, first positions of the windows included.
    tokens: int
    #: Window length.
    context: int
    #: How the windows were taken and which positions were scored, in words.
    sampling: str
    #: Scored positions: every position but the first of each window.
    scored: int
    perplexity: float
    #: Mean negative log-likelihood less that of the float model, in nats.
    delta_nats: float
    #: Standard error of that over windows; ``None`` with fewer than two windows.
    delta_nats_se: float | None
    #: Kullback-Leibler divergence of the next-token distribution from the float model's, in nats.
    kl_mean: float
    kl_p99: float
    #: Fraction of positions whose most likely token is the float model's.
    top1_agreement: float
    #: Mean over all weights of the model, side data included.
    bits_per_weight: float
    model_bytes: int
    #: Signal to quantization-noise ratio of each quantized linear weight.
    sqnr_db: dict[str, float]
    tokens_per_s: float
    wall_s: float
    #: Facts a reader must know beside the numbers, such as a source's own quantization grid.
    notes: tuple[str, ...] = ()
    #: Content hashes and versions that make up the store's key.
    provenance: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return one line of JSON with the field names as keys."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "PointResult":
        """Read back what :meth:`to_json` wrote."""
        raw: dict[str, Any] = json.loads(line)
        raw["notes"] = tuple(raw["notes"])
        return cls(**raw)
