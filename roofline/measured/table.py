"""Tables of measured speeds: read the rows of a CSV file, and what its words mean."""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from hw.machine import Machine
from hw.matching import Found, find_machine
from roofline.measured.programs import engine_of, parallel_of, run_by
from roofline.model.model_names import find_model, size_in_name, stand_in
from roofline.model.model_shape import ModelShape, list_models
from roofline.runtime.gguf_mixes import MIX_ALIASES, MIXES
from roofline.runtime.serving_format import TERNARY_BITS, Recipe, parse_recipe
from roofline.runtime.storage import Storage
from roofline.workload.memory import weight_bytes
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
#: Between the cells of a row.
DELIMITERS = (",", ";", "\t")
GIB = float(1 << 30)
#: Lengths where a table has none: those of llama-bench.
DEFAULT_PROMPT = 512
DEFAULT_OUTPUT = 128
#: llama-bench generates after nothing but a first token, and takes the mean over what it generates.
EMPTY_PROMPT = 1
#: Largest batch and longest text that a row may have.
MOST = 10_000_000
#: As people write one in words.
NUMBER = r"(?<![\d.])\d+(?:\.\d+)?(?![\d.])"
#: Tokens a second that anything could be measured to do.
SLOWEST, FASTEST = 1e-9, 1e12
#: Parameters of a model, and bits of one in a file, that a row may mean.
LEAST_PARAMS, MOST_PARAMS = 1e5, 1e14
LEAST_BITS, MOST_BITS = 0.1, 64.0
MULTIPLIERS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPoint:
    """One row: a rate, and what the row's words mean."""

    line: int
    device: str
    model: str
    weight_format: str
    phase: str
    tokens_per_s: float
    found: Found
    shape: ModelShape
    recipe: Recipe
    #: The same with the smallest usual formats of everything that the row does not say.
    bound_recipe: Recipe
    #: Missing for ``e2e_max``, whose batch is whatever fits.
    batch: int | None
    prompt: int
    output: int
    #: How several machines share the model.
    parallel: Parallel = "tensor"
    #: Whether the model is unknown, and a shape of its size stands for it.
    is_generic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """One row that says something unknown."""

    line: int
    reason: str


def read_points(path: Path) -> Iterator[MeasuredPoint | Unmatched]:
    """Yield the rows of a table of measurements.

    Raises
    ------
    ValueError
        The file is no such table.
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
    # Names in any case, with blanks around them.
    rows.fieldnames = [name.strip().lower() for name in _first_row(rows, path)]
    missing = [name for name in COLUMNS[:-1] if name not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; needed: {', '.join(COLUMNS)}")
    doubled = next((name for name in COLUMNS if rows.fieldnames.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"{path}: two columns are named {doubled!r}")
    try:
        for row in rows:
            yield _point(row, rows.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: not a CSV table: {error}") from None


def _delimiter(lines: list[str]) -> str:
    """Return what separates the names of the first line: a comma, a semicolon or a tab.

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


def _point(row: dict[str, str], line: int) -> MeasuredPoint | Unmatched:
    try:
        return _matched({key: (value or "").strip() for key, value in row.items() if key}, line)
    except ValueError as error:
        return Unmatched(line=line, reason=str(error))


def _matched(row: dict[str, str], line: int) -> MeasuredPoint:
    phase = row["phase"].lower()
    if phase not in PHASES:
        raise ValueError(f"phase {row['phase']!r} is not one of {', '.join(PHASES)}")
    rate = _number(row["tokens_per_s"], "tokens_per_s")
    if rate is None or not SLOWEST <= rate <= FASTEST:
        raise ValueError(f"tokens_per_s is {row['tokens_per_s']!r}, not above 0 and possible")
    shape = _shape(row["model"], row["params"])
    found = _machine(row["device"], _kind(row["weight_format"]))
    formats = row["weight_format"], row["act_format"]
    source = row.get("source", "").lower()
    engine = engine_of(" ".join(row.values()).lower(), source, shape.name, found.machine)
    recipe = read_recipe(*formats, shape, machine=found.machine)
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
        recipe=run_by(engine, recipe),
        bound_recipe=read_recipe(*formats, shape, machine=found.machine, smallest=True),
        batch=None if phase == "e2e_max" and not batch else batch or 1,
        prompt=_whole(row, "prompt_len", EMPTY_PROMPT if phase == "decode" else DEFAULT_PROMPT),
        output=_whole(row, "gen_len", DEFAULT_OUTPUT),
        parallel=parallel_of(
            recipe, found.machine, shape.name, " ".join((row["device"], *formats)).lower(), source
        ),
        is_generic=shape.name not in list_models(),
    )


def _whole(row: dict[str, str], name: str, default: int) -> int:
    """Return the whole number of a cell; the default if it is empty or 0."""
    number = _number(row[name], name) or default
    if not 0 <= number <= MOST or number != int(number):
        raise ValueError(f"{name} is {row[name]!r}; a whole number up to {MOST:,}")
    return int(number)


@cache
def _machine(text: str, kind: str | None) -> Found:
    return find_machine(text, prefer_kind=kind)


@cache
def _shape(model: str, params: str) -> ModelShape:
    count = _number(params, "params")
    if count is not None and not 0 < count < math.inf:
        raise ValueError(f"params is {params!r}, not above 0")
    if count is not None and count < 1e4:
        # Written in billions.
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


def _kind(weights: str) -> str | None:
    """Return the only kind of machine that runs a format, as of bitnet.cpp's kernels."""
    lowered = weights.lower()
    return "cpu" if any(word in lowered for word in CPU_FORMATS) else None


CPU_FORMATS = (*TERNARY_BITS, "t-mac", "tmac", "ternary", "bitnet", "tq1", "tq2")


@cache
def read_recipe(
    weights: str,
    activations: str,
    shape: ModelShape,
    *,
    machine: Machine | None = None,
    smallest: bool = False,
) -> Recipe:
    """Return the recipe that the formats of a table mean.

    ``gguf-Q4_K_M (4.90 bpw; 4.58 GiB)`` is scaled to the size of the file. Weights in FP4 are
    multiplied by activations in FP4 on a ``machine`` that does so, unless a format says otherwise.
    ``smallest`` gives cache and head the smallest usual format where the text says none.

    >>> from roofline.model.model_shape import load_model
    >>> shape = load_model("llama-3-8b")
    >>> recipe = read_recipe("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", "", shape)
    >>> round(weight_bytes(shape, recipe) / 2**30, 4)
    4.58
    """
    text = weights.lower().strip()
    words = f"{text} {activations}".lower()
    recipe = _named_recipe(text, activations.lower().strip())
    if machine is not None and not activations.strip():
        recipe = _as_machines_run_it(recipe, text, machine)
    recipe = _with_cache(recipe, words)
    if smallest:
        recipe = _smallest(recipe, words)
    size = re.search(rf"({NUMBER}) ?(gib|gb|mib|mb)\b", text)
    bits = re.search(rf"({NUMBER}) ?(?:bpw|bits)", text)
    if size:
        unit = {"gib": GIB, "gb": 1e9, "mib": GIB / 1024, "mb": 1e6}[size[2]]
        return _scaled(recipe, shape, float(size[1]) * unit)
    if bits and recipe.kernel == "gguf" and recipe.mix:
        return _scaled(recipe, shape, float(bits[1]) / 8 * shape.params)
    return recipe


def _as_machines_run_it(recipe: Recipe, text: str, machine: Machine) -> Recipe:
    """Return the recipe of weights in FP4 with the activations that TensorRT-LLM and vLLM take."""
    is_native = machine.ops_per_s("fp4") is not None
    is_weight_only = re.search(r"a16|weight[- ]only|marlin", text) is not None
    if recipe.kernel != "dense" or recipe.weights.operand != "fp4" or is_weight_only:
        return recipe
    return replace(recipe, activations="fp4") if is_native else recipe


CACHE = re.compile(r"kv[- ]?(?:cache)?[- ]?(int8|fp8|int4|fp16|bf16|16|8|4)\b")


def _with_cache(recipe: Recipe, words: str) -> Recipe:
    """Return a recipe with the KV cache that a text names.

    Engines of FP8 keep it in FP8 too, and so do NVIDIA's checkpoints in NVFP4, whose
    ``hf_quant_config.json`` has ``"kv_cache_quant_algo": "FP8"``.
    """
    found = CACHE.search(words)
    names = {"8": "int8", "4": "int4", "fp8": "fp8_e4m3", "16": "fp16", "bf16": "fp16"}
    if found:
        return replace(recipe, kv=names.get(found[1], found[1]))
    is_float = recipe.activations in ("fp8", "fp4")
    return replace(recipe, kv="fp8_e4m3") if is_float else recipe


def _smallest(recipe: Recipe, words: str) -> Recipe:
    """Return a recipe with a head as small as its weights, and a cache as small as activations.

    TensorRT-LLM's INT8 engines may keep a cache of 8 bits with one scale for a tensor, and MLC's
    and TensorRT Edge-LLM's quantize the head.
    """
    if recipe.kernel != "dense" or recipe.weights.bits_per_weight(4096, 4096) >= 16:
        return recipe
    recipe = replace(recipe, head=recipe.weights)
    is_wide = recipe.activations in ("fp16", "fp32") or CACHE.search(words) is not None
    return recipe if is_wide else replace(recipe, kv="fp8_e4m3")


def _scaled(recipe: Recipe, shape: ModelShape, file_bytes: float) -> Recipe:
    bits = 8 * file_bytes / shape.params
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"a file of {file_bytes:g} bytes has {bits:.2g} bits a weight")
    return replace(recipe, size_factor=file_bytes / weight_bytes(shape, recipe))


def _named_recipe(text: str, activations: str) -> Recipe:
    head = re.split(r"[(;,]", text)[0].strip()
    act = _activation(activations)
    tokens = re.findall(r"[a-z0-9_.]+", head.replace("-", " "))
    # Only llama-bench writes sizes of files in GiB, and f16 is its word.
    is_gguf = any(word in text for word in ("gguf", "ggml", "llama.cpp", "gib")) or "f16" in tokens
    if re.search(r"t-?mac", text):
        bits = re.search(r"(?:w|int|q)(\d)|(\d)[- ]?bit", text)
        return parse_recipe(f"tmac-{bits[1] or bits[2]}" if bits else "tmac-2")
    if match := re.search(rf"exl[23]\D*({NUMBER})|({NUMBER}) ?bpw exl[23]", text):
        return _exllama(float(match[1] or match[2]))
    sized = re.search(r"\bg(?:roup)? ?(\d+)\b", text)
    group = f"-g{sized[1]}" if sized else ""
    for token in tokens:
        name = MIX_ALIASES.get(token, token)
        is_plain = name in ("f16", "bf16", "f32")
        if name in MIXES and (is_gguf or not (is_plain or name == "mxfp4")):
            return parse_recipe(f"gguf-{name}")
        if name in TERNARY_BITS:
            return parse_recipe(name)
        if name in ("fp16", "f16", "bf16", "float16", "bfloat16", "half", "w16a16"):
            return parse_recipe("fp16")
        if name in ("fp32", "f32", "float32"):
            return parse_recipe("fp32")
        if name == "fp8":
            return parse_recipe("fp8")
        if name in ("nvfp4", "mxfp4", "fp4", "nf4"):
            return parse_recipe(name, activations=act)
        if match := re.fullmatch(r"w(\d+)a(\d+)(kv\d+)?", name):
            if "fp8" in tokens and match[1] == match[2] == "8":
                return parse_recipe("fp8")
            return parse_recipe(name + ("" if match[1] in ("16", "32") else group))
        if match := re.fullmatch(r"w?int(\d)|w(\d)|(\d)bit", name) or _bare(name, tokens):
            width = "16" if act in (None, "fp16") else "8"
            return parse_recipe(f"w{next(filter(None, match.groups()))}a{width}{group}")
        if name in ("int8", "sq", "smoothquant"):
            return parse_recipe("w8a8")
        if name in ("awq", "gptq"):
            bits = re.search(r"(\d)[- ]?bit|int(\d)|\bw(\d)", text)
            return parse_recipe(f"w{next(filter(None, bits.groups())) if bits else 4}a16{group}")
        if name in ("ternary", "bitnet", "tq", "b1.58"):
            return parse_recipe("i2_s")
    return parse_recipe(head)


def _bare(name: str, tokens: list[str]) -> re.Match[str] | None:
    """Match the digit of ``4-bit``, or one that stands alone; not those of ``2:4``."""
    place = tokens.index(name)
    is_width = len(tokens) == 1 or tokens[place + 1 : place + 2] in (["bit"], ["bits"])
    return re.fullmatch(r"(\d)", name) if is_width else None


def _exllama(bits: float) -> Recipe:
    """Return a recipe of ExLlama, whose weights have any number of bits on average.

    >>> _exllama(4.65).weights.bits_per_weight(4096, 4096)
    4.65
    """
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits:g} bits a weight; ExLlama stores 1 to 16")
    return Recipe(name=f"exl2 {bits:g}", weights=Storage(name="exl2", bits=bits))


def _activation(text: str) -> str | None:
    names = {
        "fp16": "fp16",
        "f16": "fp16",
        "bf16": "fp16",
        "a16": "fp16",
        "fp8": "fp8",
        "e4m3": "fp8",
        "mxfp8": "fp8",
        "bfloat16": "fp16",
        "float16": "fp16",
        "int8": "int8",
        "a8": "int8",
        "i8": "int8",
        "fp4": "fp4",
        "nvfp4": "fp4",
        "mxfp4": "fp4",
        "a4": "int4",
        "fp32": "fp32",
        "f32": "fp32",
        "int4": "int4",
    }
    return names.get(text)
