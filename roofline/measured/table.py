"""Tables of measured speeds: read the rows of a CSV file and match their words."""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hw.names import Found
from roofline.measured.engines import (
    EngineAliases,
    RowWords,
    engine_aliases,
    engine_of,
    parallel_of,
)
from roofline.measured.format_names import kind_of, read_format
from roofline.measured.machine_words import machine_in
from roofline.measured.stand_in import size_in_name, stand_in
from roofline.model.model_names import find_model
from roofline.model.model_shape import ModelShape, list_models
from roofline.runtime.engine import Engine
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.setup import Parallel

COLUMNS = (
    "device",
    "model",
    "params",
    "weight_format",
    "act_format",
    "batch",
    "prompt_len",
    "gen_len",
    "phase",
    "tokens_per_s",
    "source",
)
PHASES = ("prefill", "decode", "e2e", "e2e_max")
LONGEST_FILE_BYTES = 16 << 20
#: Separators of the cells of a row.
DELIMITERS = (",", ";", "\t")
#: Prompt and output tokens where a table has none, those of llama-bench.
DEFAULT_PROMPT = 512
DEFAULT_OUTPUT = 128
#: Prompt tokens of a decode row without a length: llama-bench generates after a first token.
EMPTY_PROMPT = 1
#: Largest batch and longest text that a row may have.
MOST = 10_000_000
#: Least and most tokens/s that a row may have.
SLOWEST, FASTEST = 1e-9, 1e12
#: Least and most parameters of a model that a row may have.
LEAST_PARAMS, MOST_PARAMS = 1e5, 1e14
#: How rows name the sequences of a step at most, in vLLM and in TensorRT-LLM.
SEQUENCES = re.compile(r"\bmax[-_ ]?(?:num[-_ ]?seqs|batch[-_ ]?size) ?[=:]? ?([1-9]\d{0,5})\b")
MULTIPLIERS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPoint:
    """One row: a measured rate, and the setup that its words mean."""

    line: int
    device: str
    model: str
    weight_format: str
    phase: str
    tokens_per_s: float
    found: Found
    shape: ModelShape
    format: ServingFormat
    engine: Engine
    #: Format for a bound: the smallest usual formats of what the row does not name.
    bound_format: ServingFormat
    #: Sequences; None for ``e2e_max``, which runs as many as fit.
    batch: int | None
    prompt: int
    output: int
    #: Sequences of a step at most (``max_num_seqs``), if the row names them.
    most_sequences: int | None = None
    #: How several machines share the model.
    parallel: Parallel = "tensor"
    #: Whether the model is unknown, and a shape of its size stands in for it.
    is_generic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """One row that could not be matched, and why."""

    line: int
    reason: str


def read_points(
    path: Path, aliases: EngineAliases | None = None
) -> Iterator[MeasuredPoint | Unmatched]:
    """Yield the rows of a table of measurements; the built-in aliases name engines by default.

    Raises
    ------
    ValueError
        The file is not such a table.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LONGEST_FILE_BYTES:
        raise ValueError(f"{path}: longer than {LONGEST_FILE_BYTES} bytes")
    try:
        # Cells in quotes keep their line ends.
        lines = list(io.StringIO(data.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None
    rows = csv.DictReader(lines, delimiter=_delimiter(lines))
    # Column names count in any case, with blanks around them.
    rows.fieldnames = [name.strip().lower() for name in _first_row(rows, path)]
    missing = [name for name in COLUMNS[:-1] if name not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; needed: {', '.join(COLUMNS)}")
    doubled = next((name for name in COLUMNS if rows.fieldnames.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"{path}: two columns are named {doubled!r}")
    try:
        for row in rows:
            yield _point(row, rows.line_num, aliases or engine_aliases())
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: not a CSV table: {error}") from None


def _delimiter(lines: list[str]) -> str:
    """Return the separator of the names in the first line: a comma, a semicolon or a tab.

    >>> [_delimiter([line]) for line in ("device,model", "device;model", "a")]
    [',', ';', ',']
    """
    first = lines[0] if lines else ""
    return max(DELIMITERS, key=first.count)


def _first_row(rows: "csv.DictReader[str]", path: Path) -> list[str]:
    try:
        return list(rows.fieldnames or ())
    except csv.Error as error:
        raise ValueError(f"{path}, line 1: not a CSV table: {error}") from None


def _point(row: dict[str, str], line: int, aliases: EngineAliases) -> MeasuredPoint | Unmatched:
    cells = {key: (value or "").strip() for key, value in row.items() if key}
    try:
        return _matched(cells, line, aliases)
    except ValueError as error:
        return Unmatched(line=line, reason=str(error))


def _matched(row: dict[str, str], line: int, aliases: EngineAliases) -> MeasuredPoint:
    phase = row["phase"].lower()
    if phase not in PHASES:
        raise ValueError(f"phase {row['phase']!r} is not one of {', '.join(PHASES)}")
    rate = _number(row["tokens_per_s"], "tokens_per_s")
    if rate is None or not SLOWEST <= rate <= FASTEST:
        raise ValueError(
            f"tokens_per_s is {row['tokens_per_s']!r}; from {SLOWEST:g} to {FASTEST:g}"
        )
    shape = _shape(row["model"], row["params"])
    found = _machine(row["device"], kind_of(row["weight_format"]))
    formats = row["weight_format"], row["act_format"]
    fmt = read_format(*formats, shape, machine=found.machine)
    words = RowWords(
        cells=" ".join(row.values()).lower(),
        setting=" ".join((row["device"], *formats)).lower(),
        source=row.get("source", "").lower(),
        model=shape.name,
        machine=found.machine,
    )
    engine = engine_of(fmt, words, aliases)
    batch = _whole(row, "batch", 0)
    return MeasuredPoint(
        line=line,
        device=row["device"],
        model=row["model"],
        weight_format=row["weight_format"],
        phase=phase,
        tokens_per_s=rate,
        found=found,
        shape=shape,
        format=fmt,
        engine=engine,
        bound_format=read_format(*formats, shape, machine=found.machine, smallest=True),
        batch=None if phase == "e2e_max" and not batch else batch or 1,
        prompt=_whole(row, "prompt_len", EMPTY_PROMPT if phase == "decode" else DEFAULT_PROMPT),
        output=_whole(row, "gen_len", DEFAULT_OUTPUT),
        most_sequences=_most_sequences(words.cells),
        parallel=parallel_of(engine, words, aliases),
        is_generic=shape.name not in list_models(),
    )


def _most_sequences(cells: str) -> int | None:
    """Return the limit on sequences that a row names.

    >>> _most_sequences("vllm --max-num-seqs 512"), _most_sequences("max_batch_size=64")
    (512, 64)
    """
    match = SEQUENCES.search(cells)
    return int(match[1]) if match else None


def _whole(row: dict[str, str], name: str, default: int) -> int:
    """Return the whole number of a cell; the default if it is empty or 0."""
    number = _number(row[name], name) or default
    if not 0 <= number <= MOST or number != int(number):
        raise ValueError(f"{name} is {row[name]!r}; a whole number up to {MOST:,}")
    return int(number)


@cache
def _machine(text: str, kind: str | None) -> Found:
    return machine_in(text, prefer_kind=kind)


@cache
def _shape(model: str, params: str) -> ModelShape:
    count = _number(params, "params")
    if count is not None and not 0 < count < math.inf:
        raise ValueError(f"params is {params!r}, not above 0")
    if count is not None and count < 1e4:
        # The number is in billions.
        count *= 1e9
    if count is not None and not LEAST_PARAMS <= count <= MOST_PARAMS:
        raise ValueError(f"params is {params!r}; from {LEAST_PARAMS:g} to {MOST_PARAMS:g}")
    found = find_model(model, params=count)
    if found is not None:
        return found
    count = count or size_in_name(model)
    if count is None:
        raise ValueError(f"unknown model {model!r}, and no number of parameters")
    return stand_in(model, count)


def _number(text: str, name: str) -> float | None:
    """Return the number of a cell such as ``8.03e9``, ``7B`` or ``1,024``; None if it is empty."""
    if text.lower() in ("", "-", "n/a", "na", "none", "nan", "?"):
        return None
    match = re.fullmatch(r"~?([\d.,]+(?:e[+-]?\d+)?) ?([kmbt]?)", text.lower())
    try:
        assert match is not None
        return float(match[1].replace(",", "")) * MULTIPLIERS[match[2]]
    except (AssertionError, ValueError):
        raise ValueError(f"{name} is {text!r}, not a number") from None
