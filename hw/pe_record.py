"""What PEs cost, as their netlists were measured: one JSON file each, read without any tool."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from hw.catalog import Catalog

FOLDER = Path(__file__).parent / "pe_records"
LONGEST_FILE_BYTES = 64 * 1024
Made = TypeVar("Made", "FpgaCost", "MemoryCost", "PeRecord")


@dataclass(frozen=True, slots=True, kw_only=True)
class FpgaCost:
    """What one PE takes of an FPGA, placed and routed between registers."""

    family: str
    device: str
    #: Whether its multipliers may go to DSP blocks.
    uses_dsp: bool
    #: Lookup tables of four inputs, those of carry chains too; on ice40 the logic cells, each with
    #: a flip-flop that may be one of those below.
    luts: int
    flip_flops: int
    dsps: int
    fmax_mhz: float
    #: Of the placement; another moves the clock rate by some per cent.
    seed: int
    #: Of the Verilog that was placed.
    verilog_sha256: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCost:
    """One memory of a PE, which is a macro beside its netlist."""

    name: str
    words: int
    #: Of a word.
    bits: int
    area_um2: float
    access_ps: float
    #: Of reading or writing a word, once a beat.
    energy_fj: float
    #: Where the three come from.
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeRecord:
    """Area, delay and energy of one PE, with where they come from.

    Those of macros are in them; what is left is of the netlist.
    """

    name: str
    weights: str
    activations: str
    #: MACs of a beat, and the cycles that it takes.
    lanes: int
    cycles_per_beat: int = 1
    #: Of one sum; a result may have several, or an exponent beside it.
    accumulator_bits: int
    area_um2: float
    #: ``plain`` or ``booth``, whichever is smaller.
    recipe: str
    cells: int
    library: str
    #: By one number for each cell; only for comparison.
    delay_ps: float | None = None
    #: Without glitches, and with every glitch of unit delays; both with the clock's pins.
    energy_no_delay_fj_per_mac: float | None = None
    energy_unit_delay_fj_per_mac: float | None = None
    clock_fj_per_mac: float | None = None
    leakage_uw: float | None = None
    operands: str
    #: Of the Verilog that was synthesized, of the library's file, and of the mapped netlist.
    verilog_sha256: str
    liberty_sha256: str
    netlist_sha256: str
    versions: dict[str, str]
    #: Macros in place of flip-flops.
    memories: tuple[MemoryCost, ...] = ()
    #: With and without DSP blocks, for each FPGA on which it was placed.
    fpga: tuple[FpgaCost, ...] = ()

    @property
    def area_um2_per_mac(self) -> float:
        """Area over MACs a cycle."""
        return self.area_um2 / self.macs_per_cycle

    def placed_on(self, family: str) -> tuple[FpgaCost, ...]:
        """Return what it takes of one FPGA, with DSP blocks first; nothing if it was not placed."""
        found = [cost for cost in self.fpga if cost.family == family]
        return tuple(sorted(found, key=lambda cost: not cost.uses_dsp))

    @property
    def macs_per_cycle(self) -> float:
        """MACs a cycle."""
        return self.lanes / self.cycles_per_beat


def list_records() -> tuple[str, ...]:
    """Return the names that :func:`load_record` knows."""
    return RECORDS.names()


def load_record(name: str) -> PeRecord:
    """Return the stored record of a PE.

    >>> load_record("int8-mac").lanes
    1
    """
    return RECORDS.load(name)


def read_record(path: Path) -> PeRecord:
    """Return the record of a file, or say what is wrong with it."""
    with path.open("rb") as file:
        data = file.read(LONGEST_FILE_BYTES + 1)
    try:
        found: Any = json.loads(data[:LONGEST_FILE_BYTES])
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from None
    placed = _listed(found, "fpga", FpgaCost, path)
    memories = _listed(found, "memories", MemoryCost, path)
    return replace(_made(PeRecord, found, path), fpga=placed, memories=memories)


RECORDS = Catalog(kind="PE record", folder=FOLDER, read=read_record, suffix=".json", see="qsim rtl")


def _listed(found: Any, name: str, kind: type[Made], path: Path) -> tuple[Made, ...]:
    """Return the parts of one name, which a record no longer has then."""
    given = found.pop(name, []) if isinstance(found, dict) else []
    if not isinstance(given, list):
        raise ValueError(f"{path}: {name} is a list of records")
    return tuple(_made(kind, each, path) for each in given)


def _made(kind: type[Made], found: object, path: Path) -> Made:
    """Return a record of some kind from what a file has for it."""
    names = {field.name for field in fields(kind)}
    if not isinstance(found, dict) or not found.keys() <= names:
        raise ValueError(f"{path}: a record has the keys {', '.join(sorted(names))}")
    try:
        return kind(**found)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None


def write_record(record: PeRecord, folder: Path) -> Path:
    """Write a record into a folder; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
