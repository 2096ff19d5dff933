"""Accuracy points that PEs could use and that no row has: a list of work, not a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hw.pe_reads import why_not_weights
from hw.pe_record import PeRecord
from numerics.names.catalog import CATALOG
from rtl.catalog import ROUNDING
from sim.codesign.accuracy_file import FLOAT, AccuracyRow
from sim.codesign.pairs import why_not

#: Activations in the name of a sweep, by a record's name of them.
ACTIVATIONS = {
    "int8": "int8",
    "int4": "int4",
    "fp8_e4m3": "fp8_e4m3",
    "fp4_e2m1": "fp4",
    "fp16": None,
}
#: Activations of PEs that apply the scales of both operands.
BOTH = {"mxfp4-dot": "mxfp4", "nvfp4-dot": "nvfp4:token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Formats that a PE reads, without a measured accuracy."""

    weights: str
    activations: str | None
    #: PE whose sums round; empty for exact sums.
    pe: str
    #: PEs that could use the point.
    elements: tuple[str, ...]
    kv: str = FLOAT

    def command(self, model: str) -> str:
        """Return the command that measures the point."""
        inputs = f" --activations {self.activations}" if self.activations else ""
        kv = f" --kv {self.kv}" if self.kv != FLOAT else ""
        pe = f" --pe {self.pe}" if self.pe else ""
        return f"qsim sweep --model {model} --format {self.weights}{inputs}{kv}{pe}"


def missing(rows: Sequence[AccuracyRow], records: Sequence[PeRecord], kv: str) -> list[Missing]:
    """Return the points of named formats that PEs read and the rows lack."""
    found: dict[tuple[str, str | None, str], list[str]] = {}
    for record in records:
        if record.weights == "fp16":
            continue
        pe = record.name if record.name in ROUNDING else ""
        activations = BOTH.get(record.name, ACTIVATIONS[record.activations])
        have = {row.weights for row in rows if row.kv == kv and not why_not(row, record)}
        for name in _readable(record):
            if name not in have:
                found.setdefault((name, activations, pe), []).append(record.name)
    return [
        Missing(weights=w, activations=a, pe=pe, elements=tuple(names), kv=kv)
        for (w, a, pe), names in found.items()
    ]


def _readable(record: PeRecord) -> Iterator[str]:
    """Yield the named formats that a PE reads."""
    for name, entry in CATALOG.items():
        if not why_not_weights(record, entry.scheme):
            yield name
