"""Tables of measured products, layers and networks on accelerators that other people built.

A row names its device and either a product (``m``, ``k``, ``n``) or a ``network``: one of
``networks.csv``, or a language model that generates a token for each of ``batch`` sequences of
``context`` tokens. It has one measured value: ``cycles``, ``time_ms``, ``time_us``, ``per_s``,
``macs_per_cycle``, ``tops`` (two operations a multiply-add) or ``utilization`` of the PEs.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hw.array_machine import ArrayMachine, find_array_machine
from roofline.accelerator.array_product import ArrayProduct
from roofline.measured.array_networks import network_products
from roofline.measured.table import LONGEST_FILE_BYTES, Unmatched

#: Published rows of the built-in machines, in the format of this module.
PUBLISHED = Path(__file__).parent / "array_rows.csv"
#: Other headings of a column.
SYNONYMS = {
    "machine": "device",
    "accelerator": "device",
    "measured_cycles": "cycles",
    "latency_ms": "time_ms",
    "latency_us": "time_us",
    "fps": "per_s",
    "utilisation": "utilization",
}
#: Columns of a measured value.
VALUES = ("cycles", "time_ms", "time_us", "per_s", "macs_per_cycle", "tops", "utilization")
#: Tokens before a generated one, of a row without ``context``.
CONTEXT = 512
#: Largest size of a product that a row may have.
MOST = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayRow:
    """One row: the products of a measured run, and its cycles."""

    line: int
    device: str
    #: Network, or sizes of the product.
    work: str
    machine: ArrayMachine
    products: tuple[ArrayProduct, ...]
    measured_cycles: float
    #: ``measured``, ``rtl`` for a simulated circuit or ``estimate`` for a vendor's own model.
    kind: str
    source: str


def is_array_table(path: Path) -> bool:
    """Return whether the first line of a file has the columns of such a table.

    Raises
    ------
    ValueError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(4096).decode("utf-8-sig", "replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    return _is_heading({_heading(name) for name in first.split(",")})


def read_array_rows(path: Path) -> Iterator[ArrayRow | Unmatched]:
    """Yield the rows of a table, or why one could not be read.

    Raises
    ------
    ValueError
        The file is not such a table.
    """
    try:
        data = path.read_bytes()[: LONGEST_FILE_BYTES + 1]
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    if len(data) > LONGEST_FILE_BYTES:
        raise ValueError(f"{path}: longer than {LONGEST_FILE_BYTES} bytes")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    rows.fieldnames = [_heading(name) for name in rows.fieldnames or ()]
    if not _is_heading(set(rows.fieldnames)):
        raise ValueError(
            f"{path}: needs the columns device, m, k and n (or network), and one of"
            f" {', '.join(VALUES)}"
        )
    try:
        for row in rows:
            cells = {key: (cell or "").strip() for key, cell in row.items() if key}
            try:
                yield _row(cells, rows.line_num)
            except ValueError as error:
                yield Unmatched(line=rows.line_num, reason=str(error))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: not a CSV table: {error}") from None


def _heading(name: str) -> str:
    plain = name.strip().strip('"').lower()
    return SYNONYMS.get(plain, plain)


def _is_heading(names: set[str]) -> bool:
    has_work = {"m", "k", "n"} <= names or "network" in names
    return "device" in names and has_work and not names.isdisjoint(VALUES)


def _row(cells: dict[str, str], line: int) -> ArrayRow:
    machine = find_array_machine(cells["device"])
    given = {
        name: number
        for name in ("weight_bits", "memory_efficiency", "clock_mhz")
        if (number := _number(cells, name)) is not None
    }
    machine = replace(machine, **given)  # type: ignore[arg-type]
    if network := cells.get("network", ""):
        products = network_products(
            network,
            batch=_size(cells, "batch", 1),
            context=_size(cells, "context", CONTEXT),
            read=_product,
        )
    else:
        products = (_product(cells),)
    return ArrayRow(
        line=line,
        device=cells["device"],
        work=network or " x ".join(str(getattr(products[0], name)) for name in "mkn"),
        machine=machine,
        products=products,
        measured_cycles=_measured_cycles(cells, machine, products),
        kind=cells.get("kind", "") or "measured",
        source=cells.get("source", ""),
    )


def _product(cells: dict[str, str]) -> ArrayProduct:
    sizes = {name: _size(cells, name) for name in "mkn"}
    return ArrayProduct(
        **sizes,
        count=_size(cells, "count", 1),
        taps=_size(cells, "taps", 1),
        inputs_per_output=_number(cells, "inputs_per_output") or 1.0,
        added=int(_number(cells, "added") or 0),
    )


def _size(cells: dict[str, str], name: str, default: int = 0) -> int:
    number = _number(cells, name)
    if number is None and default:
        return default
    if number is None or number != int(number) or not 1 <= number <= MOST:
        raise ValueError(f"{name} is {cells.get(name, '')!r}; a whole number from 1 to {MOST:,}")
    return int(number)


def _number(cells: dict[str, str], name: str) -> float | None:
    text = cells.get(name, "").rstrip("%").replace(",", "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} is {cells[name]!r}, not a number from 0 on")
    return number


def _measured_cycles(
    cells: dict[str, str], machine: ArrayMachine, products: tuple[ArrayProduct, ...]
) -> float:
    given = {name: number for name in VALUES if (number := _number(cells, name))}
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ValueError(f"one measured value is needed above 0, of {', '.join(VALUES)}: {found}")
    macs = sum(one.macs for one in products)
    ((name, number),) = given.items()
    share = number / 100 if name == "utilization" and number > 1 else number
    clock = machine.clock_mhz * 1e6
    cycles: dict[str, Callable[[], float]] = {
        "cycles": lambda: number,
        "time_ms": lambda: number * 1e-3 * clock,
        "time_us": lambda: number * 1e-6 * clock,
        "per_s": lambda: clock / number,
        "macs_per_cycle": lambda: macs / number,
        "tops": lambda: 2 * macs / (number * 1e12) * clock,
        "utilization": lambda: macs / (share * machine.macs_per_cycle),
    }
    return cycles[name]()
