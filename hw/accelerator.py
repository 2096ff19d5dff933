"""Accelerators: an array of PEs, its buffers and its memory, one TOML file each.

Every number of a file is a table of its value and its source, so that none stands without one::

    clock_mhz = { value = 1000, source = "arXiv:2411.11745, section V" }

``confirmed = false`` marks a number that nobody has checked against its source.
"""

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hw.dram import DRAM, DramEnergy

FOLDER = Path(__file__).parent / "accelerators"
LONGEST_FILE_BYTES = 64 * 1024
MAY_BE_ZERO = ("dequantize_cycles", "output_buffer_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An array whose PEs keep results; bits of weights decide how many cycles a step takes."""

    name: str
    title: str
    #: A key of :data:`hw.dram.DRAM`.
    dram: str
    technology_nm: float
    clock_mhz: float
    #: PEs along output channels and along tokens, and the same when one token is generated.
    prefill_rows: int
    prefill_columns: int
    decode_rows: int
    decode_columns: int
    #: Values of a dot product that a PE takes in one step.
    lanes: int
    #: Bits of weights that a PE takes in one cycle of a step; all of them where it is not serial.
    bits_per_cycle: int
    activation_bits: int
    #: Bits of keys and values, which take the place of weights in attention.
    kv_bits: int
    weight_buffer_bytes: int
    activation_buffer_bytes: int
    #: For partial sums; 0 if they stay in the PEs.
    output_buffer_bytes: int
    dram_bits_per_cycle: int
    pe_energy_pj_per_cycle: float
    #: Cycles in which the result of a group is scaled; the next group runs meanwhile.
    dequantize_cycles: int
    #: Where synthesis has one. It is not known for every design.
    pe_area_um2: float | None = None
    #: Names of numbers that are not confirmed.
    unconfirmed: tuple[str, ...] = ()
    #: Where each number comes from, by name.
    sources: tuple[tuple[str, str], ...] = ()

    def cycles_per_step(self, weight_bits: float) -> int:
        """Return the cycles of one step with weights of ``weight_bits`` without side data.

        >>> [load_accelerator("bitmod").cycles_per_step(bits) for bits in (3, 4, 6, 8)]
        [2, 2, 3, 4]
        """
        return -(-int(weight_bits) // self.bits_per_cycle)

    @property
    def array_area_mm2(self) -> float | None:
        """Area of the PEs of the array, if that of a PE is known."""
        if self.pe_area_um2 is None:
            return None
        return self.prefill_rows * self.prefill_columns * self.pe_area_um2 / 1e6

    @property
    def dram_energy(self) -> DramEnergy:
        """Energy of a bit of its memory."""
        return DRAM[self.dram]


def list_accelerators() -> list[str]:
    """Return the names that :func:`load_accelerator` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_accelerator(name: str) -> Accelerator:
    """Return a built-in accelerator.

    >>> load_accelerator("fp16-28nm").prefill_rows
    32
    """
    known = list_accelerators()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown accelerator {name!r}; {hint}known: {', '.join(known)}")
    return read_accelerator(FOLDER / f"{name}.toml")


def read_accelerator(path: Path) -> Accelerator:
    """Return the accelerator that a TOML file describes, or say which key is wrong."""
    with path.open("rb") as file:
        text = file.read(LONGEST_FILE_BYTES + 1)
    if len(text) > LONGEST_FILE_BYTES:
        raise ValueError(f"{path}: longer than the {LONGEST_FILE_BYTES} bytes of an accelerator")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    return _from_table(table, path)


def _from_table(table: dict[str, Any], path: Path) -> Accelerator:
    texts = ("title", "dram")
    types = {field.name: field.type for field in fields(Accelerator)}
    numbers = [name for name in types if name not in ("name", "unconfirmed", "sources", *texts)]
    for key in table:
        if key not in (*numbers, *texts):
            close = get_close_matches(key, [*numbers, *texts], n=1)
            raise ValueError(
                f"{path}: unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            )
    for key in (*texts, *numbers):
        if key not in table and key != "pe_area_um2":
            raise ValueError(f"{path}: key {key!r} is missing")
    if table["dram"] not in DRAM:
        raise ValueError(f"{path}: dram is {table['dram']!r}, not one of {', '.join(DRAM)}")
    values: dict[str, Any] = {key: str(table[key]) for key in texts}
    for key in numbers:
        if key in table:
            values[key] = _number(table[key], key, path, whole=types[key] is int)
    unconfirmed = (key for key in numbers if key in table and not table[key].get("confirmed", True))
    sources = tuple((key, str(table[key]["source"])) for key in numbers if key in table)
    return Accelerator(name=path.stem, unconfirmed=tuple(unconfirmed), sources=sources, **values)


def _number(entry: Any, key: str, path: Path, *, whole: bool) -> int | float:
    if not isinstance(entry, dict) or not {"value", "source"} <= entry.keys():
        raise ValueError(f"{path}: {key} needs a value and a source: {{ value = 1, source = '' }}")
    if extra := entry.keys() - {"value", "source", "confirmed"}:
        raise ValueError(f"{path}: {key} has an unknown key {min(extra)!r}")
    value = entry["value"]
    kinds = (int,) if whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    least = 0 if key in MAY_BE_ZERO else 1e-9
    if not is_number or not least <= value < 1e15:
        kind = "whole number" if whole else "number"
        raise ValueError(f"{path}: {key} is {value!r}, not a positive {kind}")
    result: int | float = value
    return result
