"""Accelerators: an array of PEs, its buffers and its memory, one TOML file each.

Every number of a file is a table with its value and its source::

    clock_mhz = { value = 1000, source = "arXiv:2411.11745, section V" }

``confirmed = false`` marks a number that was not checked against its source. A file may name the
``element`` of its array, a PE with a stored record; then lanes, bits, area, energy and leakage come
from the record and are not in the file.
"""

import re
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from hw.catalog import Catalog
from hw.dram import DRAM, DramEnergy
from hw.pe_reads import activation_bits, code_bits
from hw.pe_record import PeRecord, load_record
from hw.toml_reader import Sourced, read_toml

FOLDER = Path(__file__).parent / "accelerators"
MAY_BE_ZERO = ("dequantize_cycles", "output_buffer_bytes")
TEXTS = ("title", "dram", "dataflow", "element", "group_scaler")
#: Operands that stay in the PEs; :mod:`roofline.accelerator.systolic` has the dimensions along rows
#: and columns. In ``stream`` none does: :mod:`roofline.accelerator.stream`.
DATAFLOWS = ("output", "weight", "input", "stream")
#: Numbers that the record of an element gives, which a file with an element leaves out.
FROM_RECORD = (
    "technology_nm", "lanes", "bits_per_cycle", "activation_bits", "pe_energy_pj_per_cycle",
    "pe_idle_pj_per_cycle", "pe_area_um2", "pe_leakage_uw",
)  # fmt: skip
#: Technology node in nm of the library of the records.
RECORD_NM = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An array of PEs, whose steps take more cycles for weights of more bits."""

    name: str
    title: str
    #: Kind of memory, a key of :data:`hw.dram.DRAM`.
    dram: str
    technology_nm: float
    clock_mhz: float
    #: PEs along rows and columns, for prompts and for single tokens. Rows and columns are output
    #: channels and tokens where results stay in the PEs, inputs and output channels where weights
    #: stay, inputs and tokens where inputs stay.
    prefill_rows: int
    prefill_columns: int
    decode_rows: int
    decode_columns: int
    #: Values of a dot product that a PE takes in one step.
    lanes: int
    #: Bits of a weight that a PE takes in one cycle; all bits where it is not bit-serial.
    bits_per_cycle: int
    activation_bits: int
    #: Bits of keys and values, which are the weights of attention.
    kv_bits: int
    weight_buffer_bytes: int
    activation_buffer_bytes: int
    #: Bytes of the buffer of partial sums; 0 if they stay in the PEs.
    output_buffer_bytes: int
    dram_bits_per_cycle: int
    pe_energy_pj_per_cycle: float
    #: Cycles to scale the sum of a group, in parallel with the next group.
    dequantize_cycles: int
    #: Area of one PE from synthesis; None if unknown.
    pe_area_um2: float | None = None
    #: Leakage of one PE from synthesis; None if unknown.
    pe_leakage_uw: float | None = None
    #: Energy of one PE in a cycle without work; None if it is not counted.
    pe_idle_pj_per_cycle: float | None = None
    #: Bandwidth of the memory in 1e9 bytes/s, where the bus of ``dram_bits_per_cycle`` is wider;
    #: None where the bus sets it.
    memory_gb_per_s: float | None = None
    #: Share of the memory's bandwidth that is reached on average; None for all of it.
    memory_efficiency: float | None = None
    #: Operand that stays in the PEs, one of :data:`DATAFLOWS`.
    dataflow: str = "output"
    #: PE of the array with a stored record; empty if the file has its own numbers.
    element: str = ""
    #: PE that multiplies the sums of groups by their scales; empty if the elements do.
    group_scaler: str = ""
    #: Names of numbers that are not confirmed.
    unconfirmed: tuple[str, ...] = ()
    #: Name and source of every number.
    sources: tuple[tuple[str, str], ...] = ()

    def cycles_per_step(self, weight_bits: float) -> int:
        """Return the cycles of one step with weights of ``weight_bits``, scales not counted.

        >>> [load_accelerator("bitmod").cycles_per_step(bits) for bits in (3, 4, 6, 8)]
        [2, 2, 3, 4]
        """
        return -(-int(weight_bits) // self.bits_per_cycle)

    @property
    def array_area_mm2(self) -> float | None:
        """Area of all PEs; None if the area of a PE is unknown."""
        if self.pe_area_um2 is None:
            return None
        return self.prefill_rows * self.prefill_columns * self.pe_area_um2 / 1e6

    @property
    def peak_bytes_per_cycle(self) -> float:
        """Bytes that memory delivers in a cycle at most."""
        bus = self.dram_bits_per_cycle / 8
        if self.memory_gb_per_s is None:
            return bus
        return min(bus, self.memory_gb_per_s * 1e9 / (self.clock_mhz * 1e6))

    @property
    def stream_bytes_per_cycle(self) -> float:
        """Mean bytes that memory delivers in a cycle."""
        return self.peak_bytes_per_cycle * (self.memory_efficiency or 1.0)

    @property
    def record(self) -> PeRecord | None:
        """Record of its element; None without an element."""
        return load_record(self.element) if self.element else None

    @property
    def dram_energy(self) -> DramEnergy:
        """Energy of a bit of its memory."""
        return DRAM[self.dram]


def list_accelerators() -> tuple[str, ...]:
    """Return the names that :func:`load_accelerator` knows."""
    return ACCELERATORS.names()


def load_accelerator(name: str) -> Accelerator:
    """Return a built-in accelerator.

    >>> load_accelerator("fp16-28nm").prefill_rows
    32
    """
    return ACCELERATORS.load(name)


def read_accelerator(path: Path) -> Accelerator:
    """Return the accelerator that a TOML file describes, or say which line and key is wrong."""
    found = read_toml(path, _FILE)
    values = _recorded(found.element)
    sources = [(name, f"hw/pe_records/{found.element}.json") for name in values]
    unconfirmed: list[str] = []
    for one in _NUMBERS:
        number = getattr(found, one.name)
        if number is None:
            continue
        values[one.name] = int(number.value) if one.type is int else number.value
        sources.append((one.name, number.source))
        if not number.confirmed:
            unconfirmed.append(one.name)
    return Accelerator(
        name=path.stem,
        unconfirmed=tuple(unconfirmed),
        sources=tuple(sources),
        **{name: getattr(found, name) for name in TEXTS},
        **values,
    )


def from_record(element: str, **given: Any) -> Accelerator:
    """Return an accelerator of a PE with a stored record, which gives the numbers of the PE."""
    return Accelerator(element=element, **_recorded(element), **given)


def _recorded(element: str) -> dict[str, Any]:
    """Return the numbers that the record of an element gives; none without an element."""
    if not element:
        return {}
    record = load_record(element)
    energy = record.energy
    return {
        "technology_nm": RECORD_NM,
        "lanes": record.lanes,
        "bits_per_cycle": -(-code_bits(record) // record.cycles_per_beat),
        "activation_bits": activation_bits(record),
        "pe_energy_pj_per_cycle": energy.nominal_pj,
        "pe_idle_pj_per_cycle": energy.idle_pj,
        "pe_area_um2": record.area_um2,
        "pe_leakage_uw": record.leakage_uw,
    }


ACCELERATORS = Catalog(kind="accelerator", folder=FOLDER, read=read_accelerator, see="qsim hw")


def is_accelerator(path: Path) -> bool:
    """Return whether a file has a key that accelerators have and machines don't."""
    return is_accelerator_text(path.read_text("utf-8", "replace"))


def is_accelerator_text(text: str) -> bool:
    """Return whether a file's text has a key that accelerators have and machines don't."""
    keys = "|".join(f"{one.name}\\b" for one in _NUMBERS)
    return re.search(rf"^ *({keys})", text, re.MULTILINE) is not None


def _entry(one: "Field[Any]") -> tuple[str, Any, Any]:
    """Return the field of a file that holds a number of an accelerator with its source."""
    about = {"whole": one.type is int, "may_be_zero": one.name in MAY_BE_ZERO}
    if one.default is MISSING and one.name not in FROM_RECORD:
        return one.name, Sourced, field(metadata=about)
    return one.name, Sourced | None, field(default=None, metadata=about)


def _check_record(key: str, pe: str) -> None:
    try:
        if pe:
            load_record(pe)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _check_texts(found: Any) -> None:
    for name, known in (("dram", tuple(DRAM)), ("dataflow", DATAFLOWS)):
        if (value := getattr(found, name)) not in known:
            raise ValueError(f"{name} is {value!r}, not one of {', '.join(known)}")
    needed = [one.name for one in _NUMBERS if one.name in FROM_RECORD and one.default is MISSING]
    _check_record("element", found.element)
    _check_record("group_scaler", found.group_scaler)
    if found.element:
        for name in FROM_RECORD:
            if getattr(found, name) is not None:
                raise ValueError(f"{name} comes from the record of {found.element}; leave it out")
    for name in needed:
        if not found.element and getattr(found, name) is None:
            raise ValueError(f"key {name!r} is missing")
    if found.dataflow == "stream" and not found.element:
        raise ValueError("dataflow is 'stream', which needs the key element, a PE of 'qsim rtl'")
    for name in ("memory_gb_per_s", "memory_efficiency", "group_scaler"):
        if getattr(found, name) and found.dataflow != "stream":
            raise ValueError(f"{name} is for dataflow 'stream' alone")


_NUMBERS = [
    one for one in fields(Accelerator) if one.name not in ("name", "unconfirmed", "sources", *TEXTS)
]
#: The keys of a file: texts, and the numbers of an accelerator with their sources.
_FILE: Any = make_dataclass(
    "_FILE",
    [
        ("title", str),
        ("dram", str),
        ("dataflow", str, field(default="output")),
        ("element", str, field(default="")),
        ("group_scaler", str, field(default="")),
        *map(_entry, _NUMBERS),
    ],
    namespace={"__post_init__": _check_texts},
    frozen=True,
    kw_only=True,
)
