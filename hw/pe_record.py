"""Stored costs of PEs, measured on their netlists: one JSON file per PE, readable without tools."""

import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hw.catalog import Catalog

FOLDER = Path(__file__).parent / "pe_records"
#: Records of PEs at equal MACs per cycle, which only comparisons read.
COMPARABLE_FOLDER = FOLDER / "comparable"
LONGEST_FILE_BYTES = 64 * 1024
Made = TypeVar("Made", "FpgaCost", "MemoryCost", "PeRecord")


@dataclass(frozen=True, slots=True, kw_only=True)
class FpgaCost:
    """FPGA resources and clock rate of one PE, placed and routed between registers."""

    family: str
    device: str
    #: Whether multipliers may be mapped to DSP blocks.
    uses_dsp: bool
    #: Number of 4-input look-up tables, including those of carry chains; on ice40 of logic cells,
    #: which may also hold one of the ``flip_flops``.
    luts: int
    flip_flops: int
    dsps: int
    fmax_mhz: float
    #: Random seed of the placement; the clock rate varies by a few per cent between seeds.
    seed: int
    #: Hash of the Verilog that was placed.
    verilog_sha256: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCost:
    """Cost of one memory of a PE, an SRAM macro outside the netlist."""

    name: str
    words: int
    #: Bits per word.
    bits: int
    area_um2: float
    access_ps: float
    #: Energy of one read or write of a word, which happens once per beat, in fJ.
    energy_fj: float
    #: Source of area, access time and energy.
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeEnergy:
    """Energy of one PE in pJ per cycle with a beat, and per cycle without one.

    ``low_pj`` is measured without glitches, ``high_pj`` with all glitches of unit gate delays, and
    ``nominal_pj`` with the delays of the cells and inertial filtering. A waiting PE takes
    ``idle_pj``, the energy of its clock pins, since no clock is gated.
    """

    low_pj: float
    nominal_pj: float
    high_pj: float
    idle_pj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeRecord:
    """Area, delay and energy of one PE, with their source.

    They include SRAM macros; without the macros they are those of the netlist.
    """

    name: str
    weights: str
    activations: str
    #: Number of MACs per beat; ``cycles`` is the number of cycles per beat.
    lanes: int
    cycles_per_beat: int = 1
    #: Width in bits of one accumulator (its mantissa, if it has an exponent).
    accumulator_bits: int
    #: Width in bits of a result, which may hold several numbers; ``None`` in older records.
    result_bits: int | None = None
    area_um2: float
    #: Synthesis recipe with the smaller area, ``plain`` or ``booth``.
    recipe: str
    cells: int
    library: str
    #: Longest path in ps, with one constant delay per cell; for comparison only.
    delay_ps: float | None = None
    #: Energy in fJ per MAC, including clock pins: without glitches (``no_delay``), with the delays
    #: of the cells and inertial filtering (``gate_delay``), and with all glitches of unit gate
    #: delays (``unit_delay``).
    energy_no_delay_fj_per_mac: float | None = None
    energy_gate_delay_fj_per_mac: float | None = None
    energy_unit_delay_fj_per_mac: float | None = None
    clock_fj_per_mac: float | None = None
    leakage_uw: float | None = None
    operands: str
    #: Hashes of the synthesized Verilog, of the library's file and of the mapped netlist.
    verilog_sha256: str
    liberty_sha256: str
    netlist_sha256: str
    versions: dict[str, str]
    #: SRAM macros that replace flip-flops.
    memories: tuple[MemoryCost, ...] = ()
    #: Costs on each FPGA on which the PE was placed, with and without DSP blocks.
    fpga: tuple[FpgaCost, ...] = ()

    @property
    def area_um2_per_mac(self) -> float:
        """Area in um^2 over MACs per cycle."""
        return self.area_um2 / self.macs_per_cycle

    def placed_on(self, family: str) -> tuple[FpgaCost, ...]:
        """Return the costs on one FPGA, with DSP blocks first; empty if the PE was not placed."""
        found = [cost for cost in self.fpga if cost.family == family]
        return tuple(sorted(found, key=lambda cost: not cost.uses_dsp))

    @property
    def macs_per_cycle(self) -> float:
        """MACs per cycle."""
        return self.lanes / self.cycles_per_beat

    @property
    def energy(self) -> PeEnergy:
        """Energy of a cycle; raise ValueError if none was measured.

        >>> energy = load_record("mixpe-w4a8").energy
        >>> round(energy.low_pj, 2), round(energy.nominal_pj, 2), round(energy.high_pj, 2)
        (0.79, 1.32, 1.78)
        """
        low, high = self.energy_no_delay_fj_per_mac, self.energy_unit_delay_fj_per_mac
        nominal = self.energy_gate_delay_fj_per_mac
        if low is None or nominal is None or high is None:
            raise ValueError(
                f"the record of {self.name} has no energy; measure it with the built-in library"
            )
        pj = self.macs_per_cycle / 1000
        return PeEnergy(
            low_pj=low * pj,
            nominal_pj=nominal * pj,
            high_pj=high * pj,
            idle_pj=(self.clock_fj_per_mac or 0.0) * pj,
        )


def list_records() -> tuple[str, ...]:
    """Return the names of the PEs with a stored record."""
    return RECORDS.names()


@cache
def load_record(name: str) -> PeRecord:
    """Return the stored record of a PE, read once in a process.

    >>> load_record("int8-mac").lanes
    1
    """
    return RECORDS.load(name)


@cache
def load_comparable(name: str) -> PeRecord:
    """Return the stored record of a variant of :mod:`rtl.comparable`, or else of a PE.

    >>> load_comparable("int8-mac-scaled-x16").macs_per_cycle
    16.0
    """
    return (COMPARABLE_RECORDS if name in COMPARABLE_RECORDS.names() else RECORDS).load(name)


def is_stored(name: str) -> bool:
    """Return whether :func:`load_comparable` finds a record."""
    return name in RECORDS.names() or name in COMPARABLE_RECORDS.names()


def read_record(path: Path) -> PeRecord:
    """Return the record in a file; raise ValueError if it is not one."""
    with path.open("rb") as file:
        data = file.read(LONGEST_FILE_BYTES + 1)
    try:
        found: Any = json.loads(data[:LONGEST_FILE_BYTES])
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    placed = _listed(found, "fpga", FpgaCost, path)
    memories = _listed(found, "memories", MemoryCost, path)
    return replace(_made(PeRecord, found, path), fpga=placed, memories=memories)


RECORDS = Catalog(kind="PE record", folder=FOLDER, read=read_record, suffix=".json", see="qsim rtl")
COMPARABLE_RECORDS = replace(RECORDS, folder=COMPARABLE_FOLDER)


def _listed(found: Any, name: str, kind: type[Made], path: Path) -> tuple[Made, ...]:
    """Remove one key with a list of records from a record, and return the list."""
    given = found.pop(name, []) if isinstance(found, dict) else []
    if not isinstance(given, list):
        raise ValueError(f"{path}: {name} must be a list of records")
    return tuple(_made(kind, each, path) for each in given)


def _made(kind: type[Made], found: object, path: Path) -> Made:
    """Return a record of some class from the JSON object of a file."""
    names = {field.name for field in fields(kind)}
    if not isinstance(found, dict) or not found.keys() <= names:
        raise ValueError(f"{path}: a record must have the keys {', '.join(sorted(names))}")
    try:
        return kind(**found)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from None


def write_record(record: PeRecord, folder: Path) -> Path:
    """Write a record into a folder, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.json"
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
