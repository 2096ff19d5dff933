"""Arrays of PEs that other people built, one TOML file each: sizes, dataflow, buses and controller.

Every number is a table with its value and its source, as in :mod:`hw.accelerator`. The numbers come
from documents of the machine alone, never from the measurements that
:mod:`roofline.measured.array_rows` scores. How a machine cuts a product into tiles is its ``plan``:
:mod:`roofline.accelerator.array_time`.
"""

import re
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hw.catalog import Catalog
from hw.toml_reader import Sourced, read_toml
from numerics.names.suggest import unknown

FOLDER = Path(__file__).parent / "array_machines"
#: Operands that stay in the PEs. Rows and columns are inputs and outputs where weights stay,
#: tokens and outputs where results stay, outputs and tokens where weights stream.
DATAFLOWS = ("weight", "output", "stream")
#: Ways to cut a product into tiles.
PLANS = ("squares", "panels", "lanes", "blocks", "stream", "layers", "resident")
TEXTS = ("title", "dataflow", "plan", "names")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayMachine:
    """An array of PEs with its buffers, its memory port and the fixed costs of its controller."""

    name: str
    title: str
    #: Operand that stays in the PEs, one of :data:`DATAFLOWS`.
    dataflow: str
    #: Way to cut a product into tiles, one of :data:`PLANS`.
    plan: str
    #: Words of tables of measurements that name the machine.
    names: tuple[str, ...]
    clock_mhz: float
    rows: int
    columns: int
    #: Bytes that the memory port delivers in a cycle.
    read_bytes_per_cycle: float
    #: Products that a PE sums in a cycle.
    lanes: int = 1
    weight_bits: float = 8.0
    #: Bits of the scales of a weight's group, for one weight.
    side_bits: float = 0.0
    activation_bits: int = 8
    #: Bits of a result that leaves the machine.
    result_bits: int = 32
    weight_buffer_bytes: int = 0
    input_buffer_bytes: int = 0
    sum_buffer_bytes: int = 0
    #: Bytes of a cache between the port and DRAM; 0 without one.
    cache_bytes: int = 0
    #: Bytes that DRAM delivers in a cycle; 0 where the port is narrower.
    dram_bytes_per_cycle: float = 0.0
    #: Bytes that results take in a cycle; 0 for the rate of reads.
    write_bytes_per_cycle: float = 0.0
    #: Bytes of an aligned DRAM request; 0 where only bytes count.
    line_bytes: int = 0
    #: Tiles whose operands the buffers hold at once: 2 to load one while another runs.
    load_slots: int = 2
    #: Tiles whose results wait to be written; 0 where the array waits for the write.
    store_slots: int = 2
    #: Bytes of weights from which a panel is loaded in two halves; 0 for never.
    split_bytes: int = 0
    #: Vectors that one block of the array streams at most; 0 without a limit.
    block_vectors: int = 0
    #: Cycles of a block at least, such as those in which the next weights are shifted in.
    least_block_cycles: int = 0
    #: Cycles of a block on top of its vectors: filling and draining that no other block hides.
    block_cycles: int = 0
    #: Cycles from a read request to its first bytes, of weights and of inputs.
    latency_cycles: int = 0
    input_latency_cycles: int = 0
    #: Fixed cycles of loading one tile, and of each transfer in it.
    load_cycles: int = 0
    transfer_cycles: int = 0
    #: Fixed cycles of loading inputs, and of running and storing one tile.
    input_cycles: int = 0
    tile_cycles: int = 0
    store_cycles: int = 0
    #: Cycles of the processor or list that issues the commands of one tile, one after another.
    command_cycles: int = 0
    #: Fixed cycles of a product.
    job_cycles: int = 0
    #: Share of the port's rate that is reached on average.
    memory_efficiency: float = 1.0
    #: Names of numbers that are not confirmed.
    unconfirmed: tuple[str, ...] = ()
    #: Name and source of every number.
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def read_rate(self) -> float:
        """Mean bytes that the port delivers in a cycle."""
        return self.read_bytes_per_cycle * self.memory_efficiency

    @property
    def dram_rate(self) -> float:
        """Mean bytes that DRAM delivers in a cycle."""
        if not self.dram_bytes_per_cycle:
            return self.read_rate
        return min(self.dram_bytes_per_cycle, self.read_bytes_per_cycle) * self.memory_efficiency

    @property
    def write_rate(self) -> float:
        """Mean bytes that results take in a cycle."""
        return (self.write_bytes_per_cycle or self.read_bytes_per_cycle) * self.memory_efficiency

    @property
    def macs_per_cycle(self) -> int:
        """Products that all PEs compute in a cycle."""
        return self.rows * self.columns * self.lanes


def list_array_machines() -> tuple[str, ...]:
    """Return the names that :func:`load_array_machine` knows."""
    return ARRAY_MACHINES.names()


def load_array_machine(name: str) -> ArrayMachine:
    """Return a built-in machine.

    >>> load_array_machine("gemmini").macs_per_cycle
    256
    """
    return ARRAY_MACHINES.load(name)


def find_array_machine(text: str) -> ArrayMachine:
    """Return the machine that the words of a table name, with another size if they give one.

    The machine with most of the words is taken.

    >>> find_array_machine("Gemmini, INT8 8x8").rows, find_array_machine("TPU v1").name
    (8, 'tpu-v1')

    Raises
    ------
    ValueError
        No machine has all of its words in the text.
    """
    known = _built_in()
    if text in known:
        return known[text]
    words = _words(text)
    best: tuple[int, str] = (0, "")
    for name, machine in known.items():
        for alias in machine.names:
            wanted = _words(alias)
            if wanted <= words:
                best = max(best, (len(wanted), name))
    if not best[0]:
        raise ValueError(unknown("accelerator", text, tuple(known)))
    found = known[best[1]]
    size = re.search(r"\b(\d+)\s*[xX]\s*(\d+)\b(?!\s*[xX])", text)
    if size is None or found.plan in ("stream", "layers", "resident"):
        return found
    return replace(found, rows=int(size[1]), columns=int(size[2]))


@cache
def _built_in() -> dict[str, ArrayMachine]:
    """Return all built-in machines by name."""
    return {name: load_array_machine(name) for name in list_array_machines()}


def _words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case."""
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def read_array_machine(path: Path) -> ArrayMachine:
    """Return the machine that a TOML file describes, or say which line and key is wrong."""
    found = read_toml(path, _FILE)
    given = {one.name: getattr(found, one.name) for one in _NUMBERS}
    numbers = {name: each for name, each in given.items() if each is not None}
    whole = {one.name for one in _NUMBERS if one.type is int}
    values: dict[str, Any] = {
        name: int(number.value) if name in whole else number.value
        for name, number in numbers.items()
    }
    return ArrayMachine(
        name=path.stem,
        unconfirmed=tuple(name for name, each in numbers.items() if not each.confirmed),
        sources=tuple((name, each.source) for name, each in numbers.items()),
        **{name: getattr(found, name) for name in TEXTS},
        **values,
    )


ARRAY_MACHINES = Catalog(
    kind="accelerator", folder=FOLDER, read=read_array_machine, see="qsim roofline list"
)


def _entry(one: "Field[Any]") -> tuple[str, Any, Any]:
    """Return the field of a file that holds a number of a machine with its source."""
    about = {"whole": one.type is int, "may_be_zero": one.default is not MISSING}
    if one.default is MISSING:
        return one.name, Sourced, field(metadata=about)
    return one.name, Sourced | None, field(default=None, metadata=about)


def _check_texts(found: Any) -> None:
    for name, known in (("dataflow", DATAFLOWS), ("plan", PLANS)):
        if (value := getattr(found, name)) not in known:
            raise ValueError(f"{name} is {value!r}, not one of {', '.join(known)}")


_NUMBERS = [
    one
    for one in fields(ArrayMachine)
    if one.name not in ("name", "unconfirmed", "sources", *TEXTS)
]
#: The keys of a file: texts, and the numbers of a machine with their sources.
_FILE: Any = make_dataclass(
    "_FILE",
    [
        ("title", str),
        ("dataflow", str),
        ("plan", str),
        ("names", tuple[str, ...]),
        *map(_entry, _NUMBERS),
    ],
    namespace={"__post_init__": _check_texts},
    frozen=True,
    kw_only=True,
)
