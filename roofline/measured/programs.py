"""Which program ran a measured row, and how it shared the model: from its words and its age.

llama.cpp changed much; what a row measures follows from when its source was written. Numbers of its
issues and pull requests count up, others say a year, and people measure models that are new.
"""

import re
from dataclasses import replace
from functools import cache

from hw.machine import Machine
from roofline.runtime.serving_format import Engine, Recipe
from roofline.workload.setup import Parallel

#: How people say that llama.cpp split rows, or that every layer was split.
ROWS = re.compile(r"\brow[- ]split|\bsplit[- ](?:mode[ =]*)?rows?\b|-sm[ =]*row")
LAYERS_SPLIT = re.compile(r"\btp ?=? ?\d|tensor")
#: A year from that of llama.cpp on, and the number of an issue or pull request.
YEAR = re.compile(r"(?<!\d)(202[3-9])(?!\d)")
NUMBERED = re.compile(r"(?<!\w)llama\.cpp/(?:issues|pull)/(\d+)")
#: Pull requests of llama.cpp in 2024: since January it splits layers over GPUs, before it split
#: rows; since April it has products of tiles on processors; since June it multiplies prompts on
#: NVIDIA's GPUs in INT8.
SPLITS_LAYERS_FROM, TILES_FROM, INT8_FROM = 4766, 6414, 8075
#: Beginnings of the names of models that were the newest of their makers in 2023, until April 2024.
#: Public tables of them on several GPUs that were found are of 2023, 42 rows of 42.
MODELS_OF_2023 = ("llama-7b", "llama-13b", "llama-30b", "llama-65b", "llama-2-", "codellama")
#: The same from April to July 2024.
MODELS_OF_SPRING_2024 = ("llama-3-8b", "llama-3-70b")


def is_before(source: str, number: int) -> bool | None:
    """Return whether a source is older than a pull request of llama.cpp; None if it does not say.

    The year 2024 says nothing of a pull request of June.

    >>> [is_before(text, 6414) for text in ("ggml-org/llama.cpp/issues/34", "2024", "ik_llama.cpp")]
    [True, False, None]
    """
    if found := NUMBERED.search(source):
        return int(found[1]) < number
    years = [int(year) for year in YEAR.findall(source)]
    if not years or (min(years) == 2024 and number >= INT8_FROM):
        return None
    return min(years) < 2024


def engine_of(words: str, source: str, model: str, machine: Machine) -> Engine | None:
    """Return the program that a row in small letters names beside today's llama.cpp.

    llamafile has ik_llama.cpp's products. T-MAC's tables of 2024 have llama.cpp from the CMake that
    T-MAC needs.
    """
    if "mainline" in words:
        return None
    if "ik_llama" in words or "llamafile" in words:
        return "ik_llama.cpp"
    is_arm = machine.cores is not None and machine.cores.is_arm
    is_linux = machine.vendor not in ("Apple", "Qualcomm")
    if is_arm and is_linux and re.search(r"\bt-?mac\b", words):
        return "llama.cpp for armv8"
    if is_before(source, TILES_FROM):
        return "llama.cpp of 2023"
    is_old = is_before(source, INT8_FROM)
    if is_old is None:
        is_old = model in MODELS_OF_SPRING_2024
    return "llama.cpp of May 2024" if is_old and machine.kind == "gpu" else None


@cache
def run_by(engine: Engine | None, recipe: Recipe) -> Recipe:
    """Return a GGUF recipe in another program; ik_llama.cpp has ternary weights too."""
    is_other = recipe.engine == "llama.cpp" or engine == "ik_llama.cpp"
    if engine is None or recipe.kernel != "gguf" or not is_other:
        return recipe
    return replace(recipe, engine=engine)


def parallel_of(recipe: Recipe, machine: Machine, model: str, words: str, source: str) -> Parallel:
    """Return how machines share a model: llama.cpp's some layers each, others' parts of all."""
    if recipe.kernel != "gguf" or LAYERS_SPLIT.search(words):
        return "tensor"
    if ROWS.search(f"{words} {source}"):
        return "rows"
    is_old = is_before(source, SPLITS_LAYERS_FROM)
    if is_old is None:
        is_old = model.startswith(MODELS_OF_2023)
    return "rows" if is_old and machine.kind == "gpu" else "pipeline"
