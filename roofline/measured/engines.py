"""Engine of a measured row, and how it shared the model, by the row's words and its age.

llama.cpp changed much, so the version of a row follows from the time of its source: numbers of its
issues and pull requests count up, other sources name a year, and people measure new models. Words
and models are data, in ``engines.toml`` and in a table of the same form that a user may add.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from pathlib import Path

from hw.machine import Machine
from hw.toml_reader import read_toml
from numerics.names.suggest import unknown
from roofline.runtime.engine import ENGINES, LLAMA_CPP_VERSIONS, Engine, engine_for
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.setup import Parallel

FILE = Path(__file__).parent / "engines.toml"
#: How people write that llama.cpp split rows of weights, or that every layer was split.
ROWS = re.compile(r"\brow[- ]split|\bsplit[- ](?:mode[ =]*)?rows?\b|-sm[ =]*row")
LAYERS_SPLIT = re.compile(r"\btp ?=? ?\d|tensor")
#: A year since the first of llama.cpp, and the number of one of its issues or pull requests.
YEAR = re.compile(r"(?<!\d)(202[3-9])(?!\d)")
NUMBERED = re.compile(r"(?<!\w)llama\.cpp/(?:issues|pull)/(\d+)")
#: First pull request of llama.cpp that splits layers over GPUs (January 2024); before, rows.
SPLITS_LAYERS_FROM = 4766
#: First and last pull request of llama.cpp at the time of a source, by its year. Tables of 2024 are
#: taken to be later than its spring, those of 2025 earlier than the end of December.
PULLS_OF_YEAR = {
    2023: (0.0, SPLITS_LAYERS_FROM - 1.0),
    2024: (6414.0, 11000.0),
    2025: (11001.0, 17905.0),
}
#: How rows say whether attention is fused, and how many prompt tokens one pass has.
FLASH = re.compile(
    r"(?:\bfa|\bflash[- _]?attn|\bflash[- ]?attention)\b(?: ?[=:] ?| )?(on|off|[01])?\b"
)
NO_FLASH = re.compile(r"\b(?:no|without)[- ](?:fa|flash)\b|\bnkvo\b")
UBATCH = re.compile(r"\bu-?b(?:atch)?(?:[- _]size)?(?: ?[=:] ?| )?(\d+)\b")
PULLS_OF_LATER_YEARS = (1e9, inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordAlias:
    """An engine by the words of a row."""

    pattern: str
    engine: str
    cores: str | None = None
    not_vendors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_engine(self.engine)
        if self.cores not in (None, "arm"):
            raise ValueError(f"cores is {self.cores!r}, not 'arm'")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is {self.pattern!r}: {error}") from None

    def names(self, row: "RowWords") -> bool:
        """Return whether a row means this engine."""
        cores = row.machine.cores
        if self.cores and (cores is None or not cores.is_arm):
            return False
        is_vendor = row.machine.vendor not in self.not_vendors
        return is_vendor and re.search(self.pattern, row.cells) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias:
    """Engine and sharing of models of one time, by the start of their names."""

    names: tuple[str, ...]
    engine: str | None = None
    parallel: str | None = None

    def __post_init__(self) -> None:
        if self.engine is not None:
            _check_engine(self.engine)
        if self.parallel not in (None, "rows"):
            raise ValueError(f"parallel is {self.parallel!r}, not 'rows'")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAliases:
    """One table of aliases."""

    words: tuple[WordAlias, ...] = ()
    models: tuple[ModelAlias, ...] = ()

    def __add__(self, other: "EngineAliases") -> "EngineAliases":
        return EngineAliases(words=self.words + other.words, models=self.models + other.models)

    def of_model(self, name: str) -> list[ModelAlias]:
        """Return the entries of a model."""
        return [one for one in self.models if name.startswith(one.names)]


def _check_engine(name: str) -> None:
    if name not in ENGINES:
        raise ValueError(f"engine: {unknown('engine', name, ENGINES)}")


@cache
def engine_aliases(path: Path | None = None) -> EngineAliases:
    """Return the built-in aliases, after those of a user's table if there is one."""
    own = read_toml(FILE, EngineAliases)
    return own if path is None else read_toml(path, EngineAliases) + own


def pulls_of(source: str) -> tuple[float, float] | None:
    """Return the first and last pull request of llama.cpp that a source may mean, if it says so.

    >>> [pulls_of(text) for text in ("ggml-org/llama.cpp/issues/34", "2024", "ik_llama.cpp")]
    [(34.0, 34.0), (6414.0, 11000.0), None]
    """
    if found := NUMBERED.search(source):
        return float(found[1]), float(found[1])
    years = [int(year) for year in YEAR.findall(source)]
    return PULLS_OF_YEAR.get(min(years), PULLS_OF_LATER_YEARS) if years else None


def is_before(source: str, number: int) -> bool | None:
    """Return whether a source is older than a pull request of llama.cpp; None if it is unknown.

    >>> [is_before(text, 8075) for text in ("llama.cpp/pull/34", "2025", "2024")]
    [True, False, None]
    """
    pulls = pulls_of(source)
    if pulls is None or pulls[0] < number <= pulls[1]:
        return None
    return pulls[1] < number


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWords:
    """Words of a row that its engine follows from, in lower case."""

    #: All cells of the row, and the cells of device and formats.
    cells: str
    setting: str
    source: str
    #: Name of the model's shape.
    model: str
    machine: Machine


def engine_of(fmt: ServingFormat, row: RowWords, aliases: EngineAliases) -> Engine:
    """Return the engine that a row means, or the default engine of a format that it can't load."""
    named = next((one.engine for one in aliases.words if one.names(row)), None)
    engine = ENGINES[named] if named else _version_of(row, aliases)
    if not engine.runs(fmt):
        engine = engine_for(fmt)
    return _with_settings(engine, *_settings_of(row.cells))


def _settings_of(cells: str) -> tuple[bool | None, int | None]:
    """Return whether attention is fused and the tokens of a pass, as far as a row says so.

    >>> [_settings_of(text) for text in ("llama-bench -fa 1 -ub 2048", "fa=off", "cuda")]
    [(True, 2048), (False, None), (None, None)]
    """
    flash, ubatch = FLASH.search(cells), UBATCH.search(cells)
    is_flash = None if flash is None else flash[1] not in ("off", "0")
    if NO_FLASH.search(cells):
        is_flash = False
    return is_flash, int(ubatch[1]) if ubatch else None


@cache
def _with_settings(engine: Engine, is_flash: bool | None, ubatch: int | None) -> Engine:
    """Return an engine with the settings of a row; an equal row gets the same object."""
    if engine.gpu is None or (is_flash is None and ubatch is None):
        return engine
    flash_attention = engine.gpu.flash_attention if is_flash is None else is_flash
    tokens = ubatch or engine.gpu.ubatch_tokens
    # A pass is a part of a call.
    gpu = replace(
        engine.gpu,
        flash_attention=flash_attention,
        ubatch_tokens=tokens,
        batch_tokens=max(engine.gpu.batch_tokens, tokens),
    )
    return replace(engine, gpu=gpu)


def _version_of(row: RowWords, aliases: EngineAliases) -> Engine:
    """Return the version of llama.cpp at the time of a source, else at the time of its model."""
    *old, current = LLAMA_CPP_VERSIONS
    named = _engine_of_model(row, aliases)
    for version in old:
        assert version.until is not None
        is_old = is_before(row.source, version.until)
        if is_old:
            return version
        if is_old is None and named is not None:
            return named
    return current


def _engine_of_model(row: RowWords, aliases: EngineAliases) -> Engine | None:
    """Return the version that ran a model when it was new, unless the source is later than that."""
    name = next((one.engine for one in aliases.of_model(row.model) if one.engine), None)
    engine, pulls = ENGINES[name] if name else None, pulls_of(row.source)
    is_later = engine is not None and pulls is not None and (engine.until or inf) <= pulls[0]
    return None if is_later else engine


def parallel_of(engine: Engine, row: RowWords, aliases: EngineAliases) -> Parallel:
    """Return how machines share a model: parts of every layer, some layers each, or rows."""
    if not engine.splits_layers or LAYERS_SPLIT.search(row.setting):
        return "tensor"
    if ROWS.search(f"{row.setting} {row.source}"):
        return "rows"
    is_old = is_before(row.source, SPLITS_LAYERS_FROM)
    if is_old is None:
        is_old = any(one.parallel == "rows" for one in aliases.of_model(row.model))
    return "rows" if is_old and row.machine.kind == "gpu" else "pipeline"
