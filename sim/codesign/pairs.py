"""The join: accuracy rows with the PEs that read their formats."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hw.pe_reads import INSIDE, OPERANDS, UNSUPPORTED, why_not_activations, why_not_weights
from hw.pe_record import PeRecord, list_records, load_record
from numerics.names.suggest import unknown
from numerics.names.text import parse_scheme
from numerics.schemes.scheme import Scheme
from rtl.catalog import ROUNDING
from sim.codesign.accuracy_file import FLOAT, AccuracyRow
from sim.errors import user_errors
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import find_meaning

#: PE that scales the sums of groups for PEs that do not.
GROUP_SCALER = "bitmod-dequantizer"
#: Names of FP16 in serving formats, for what was measured in float32.
FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Formats with their measured accuracy, and a PE that reads them."""

    accuracy: AccuracyRow
    record: PeRecord

    @property
    def name(self) -> str:
        """Short name: formats of weights and activations, and the PE."""
        return f"{self.weights}/{self.activations} on {self.record.name}"

    @property
    def weights(self) -> str:
        """Format of the weights; what was measured in float32 is FP16 in a machine."""
        return _stored(self.accuracy.weights)

    @property
    def activations(self) -> str:
        """Operand type of the activations."""
        if self.accuracy.activations == FLOAT:
            return FP16
        return next(o for o, name in OPERANDS.items() if name == self.record.activations)

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight with its side data; 16 where float32 was measured."""
        return 16.0 if self.weights == FP16 else self.accuracy.bits_per_weight

    @property
    def kv(self) -> str:
        """Format of the KV cache."""
        return _stored(self.accuracy.kv)

    @property
    def group_scaler(self) -> str:
        """PE beside the array that scales the sums of groups; empty where none is needed."""
        is_scaled = self.weights != FP16 and self.record.name not in INSIDE
        return GROUP_SCALER if is_scaled else ""

    @property
    def scaler(self) -> PeRecord | None:
        """Record of the scaler; ``None`` where none is needed."""
        return load_record(self.group_scaler) if self.group_scaler else None


def _stored(name: str) -> str:
    return FP16 if name == FLOAT else name


def elements(names: Sequence[str] = ()) -> list[PeRecord]:
    """Return the records of PEs that machines are made of, or of those named.

    Raises
    ------
    UserError
        A name is unknown, or no machine can be made of its PE.
    """
    known = [name for name in list_records() if name not in UNSUPPORTED]
    with user_errors(ValueError):
        for name in names:
            if name in UNSUPPORTED:
                raise ValueError(
                    f"{name} computes several outputs, has codebooks or is a part of a PE; machines"
                    f" are made of {', '.join(known)}"
                )
            if name not in known:
                raise ValueError(unknown("PE", name, known, see="qsim rtl"))
    return [load_record(name) for name in names or known]


def join(rows: Iterable[AccuracyRow], records: Sequence[PeRecord]) -> list[Pair]:
    """Return every row with every PE that reads its codes, in the order of the rows."""
    return [
        Pair(accuracy=row, record=record)
        for row in rows
        for record in records
        if not why_not(row, record)
    ]


def why_not(row: AccuracyRow, record: PeRecord) -> str:
    """Return why a PE does not compute what a row measured; empty if it does.

    A PE whose sums round needs rows that were measured with them; the FP16 multiplier with its
    FP32 sum counts as the float32 it was measured in.
    """
    if row.pe != (record.name if record.name in ROUNDING and record.weights != FP16 else ""):
        return f"the row was measured with {row.pe or 'exact'} sums"
    if row.activations == FLOAT:
        why = why_not_activations(record, FP16)
    else:
        why = _why_not_inputs(record, _scheme(row.activations, "activation"))
    if row.weights == FLOAT:
        return why or why_not_weights(record, None)
    weights = _scheme(row.weights, "weight")
    if weights is None:
        return f"{row.weights} is a mix of block types"
    return why or why_not_weights(record, weights)


def _why_not_inputs(record: PeRecord, scheme: Scheme | None) -> str:
    """Return why a PE cannot read activations in a scheme; empty if it can."""
    formats = {fmt.name for fmt in scheme.formats} if scheme else set()
    if record.activations not in formats or scheme is None:
        return f"{record.name} reads activations in {record.activations}"
    inside = INSIDE.get(record.name)
    group = inside.group if inside is not None and inside.both else None
    if scheme.group_size != group:
        return f"{record.name} reads activations in groups of {group or 'whole tokens'}"
    return ""


def _scheme(name: str, role: str) -> Scheme | None:
    """Return the scheme of a name; ``None`` for a mix of GGUF blocks."""
    if role == "activation":
        return parse_scheme(name, role="activation")
    weights = find_meaning(name).weights
    return None if isinstance(weights, GgufMix) else weights
