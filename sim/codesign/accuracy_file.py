"""Accuracy tables: one CSV file per model, with the provenance of its rows in the head.

Lines that start with ``#`` are ``# key: value`` pairs of provenance. A row is one measured point,
keyed by what is quantized: weights, activations, KV cache, lm_head, the PE if its sums round, and
the method that chose the codes.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sim.sweep.result import PointResult

#: Value of a field that is not quantized.
FLOAT = "float32"
#: Rounding to nearest, the method without calibration.
ROUND_TO_NEAREST = "rtn"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """The measured accuracy of one combination of formats on one model and one text."""

    weights: str
    activations: str = FLOAT
    kv: str = FLOAT
    head: str = FLOAT
    #: PE whose rounding sums were simulated; empty for float32 sums of dequantized values.
    pe: str = ""
    method: str = ROUND_TO_NEAREST
    bits_per_weight: float
    #: Divergence from the float32 model in nats per token, and its standard error.
    kl_nats: float
    kl_se: float | None
    #: Mean negative log-likelihood less that of float32, nats per token, and its standard error.
    loss_nats: float
    loss_se: float | None
    top1: float
    tokens: int

    @classmethod
    def of(
        cls,
        weights: str | None,
        activations: str | None,
        kv: str | None,
        pe: str | None,
        point: PointResult,
    ) -> "AccuracyRow":
        """Return the row of a sweep's point; ``None`` stands for float32."""
        return cls(
            weights=weights or FLOAT,
            activations=activations or FLOAT,
            kv=kv or FLOAT,
            pe=pe or "",
            bits_per_weight=point.bits_per_weight,
            kl_nats=point.kl_mean,
            kl_se=point.kl_mean_se,
            loss_nats=point.delta_nats,
            loss_se=point.delta_nats_se,
            top1=point.top1_agreement,
            tokens=point.tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTable:
    """The rows of one model, with their provenance."""

    model: str
    rows: tuple[AccuracyRow, ...]
    about: Mapping[str, str]


def about_sample(
    model_sha256: str, text: str, text_sha256: str, tokens: int, sampling: str
) -> dict[str, str]:
    """Return the provenance that says which rows can be compared."""
    return {
        "model_sha256": model_sha256,
        "text": f"{text}, SHA-256 {text_sha256}",
        "sample": f"{tokens:,} tokens; {sampling}",
    }


def write_accuracy(path: Path, rows: Sequence[AccuracyRow], about: Mapping[str, str]) -> None:
    """Write a table; numbers have six significant digits."""
    stream = io.StringIO()
    stream.writelines(f"# {key}: {value}\n" for key, value in about.items())
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in fields(AccuracyRow))
    for row in rows:
        writer.writerow(_text(value) for value in asdict(row).values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stream.getvalue(), "utf-8")


def read_accuracy(path: Path) -> AccuracyTable:
    """Return the table of a file; raise ValueError with the line that is wrong."""
    about: dict[str, str] = {}
    lines = path.read_text("utf-8").splitlines()
    body = [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]
    for line in lines:
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            about[key.strip()] = value.strip()
    expected = [field.name for field in fields(AccuracyRow)]
    if not body or next(csv.reader([body[0][1]])) != expected:
        raise ValueError(f"{path}: the first line names the columns {','.join(expected)}")
    rows = tuple(_row(path, number, line) for number, line in body[1:])
    return AccuracyTable(model=path.stem, rows=rows, about=about)


def _row(path: Path, number: int, line: str) -> AccuracyRow:
    texts = next(csv.reader([line]))
    try:
        values = dict(zip([f.name for f in fields(AccuracyRow)], texts, strict=True))
        row = AccuracyRow(
            **{name: values[name] for name in ("weights", "activations", "kv", "head", "pe")},
            method=values["method"],
            bits_per_weight=float(values["bits_per_weight"]),
            kl_nats=float(values["kl_nats"]),
            kl_se=float(values["kl_se"]) if values["kl_se"] else None,
            loss_nats=float(values["loss_nats"]),
            loss_se=float(values["loss_se"]) if values["loss_se"] else None,
            top1=float(values["top1"]),
            tokens=int(values["tokens"]),
        )
    except ValueError as error:
        raise ValueError(f"{path}: line {number}: {error}") from None
    if math.isnan(row.kl_nats) or math.isnan(row.loss_nats):
        raise ValueError(f"{path}: line {number}: {row.weights} has an accuracy of NaN")
    return row


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
    return str(value)
