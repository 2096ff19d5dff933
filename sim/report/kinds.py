"""What a recipe quantizes and with which family of formats, read from its name and its numbers."""

import enum
import re
import statistics

from sim.sweep.definition import CHECKPOINT
from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult

#: Family of a format by the start of its name.
FAMILIES = {
    "INT": ("int", "uint"),
    "MX": ("mx",),
    "NVFP4": ("nvfp4",),
    "FP": ("fp", "e2m", "e3m", "e4m", "e5m"),
    "table": ("nf",),
    "ternary": ("ternary",),
}
OTHER = "other"
#: ``w=fp4,a=int8`` or ``W fp4 A int8``.
ROLE = re.compile(r"(?:^|[\s,])(w|a|kv)[=\s]\s*([^\s,]+)", re.IGNORECASE)
#: SQNR in dB from which only float32 rounding separates weights and quantized weights.
EXACT_DB = 100.0
FLOAT_BITS = 32.0


class Scope(enum.Enum):
    """What is quantized apart from the weights."""

    WEIGHTS = "weights only"
    INPUTS = "activations quantized"
    CACHE = "KV cache quantized"
    BOTH = "activations and KV cache quantized"


def roles(recipe: str) -> dict[str, str]:
    """Return the format of each of ``w``, ``a`` and ``kv`` that a recipe's name gives.

    Examples
    --------
    >>> roles("w=fp4:g64,a=int8"), roles("fp4:g64"), roles("kv=int8")
    ({'w': 'fp4:g64', 'a': 'int8'}, {'w': 'fp4:g64'}, {'kv': 'int8'})
    """
    found = {role.lower(): name for role, name in ROLE.findall(recipe) if _family(name) != OTHER}
    return found or {"w": recipe.split(" ")[0]}


def family(recipe: str) -> str:
    """Return the family of a recipe's weight format, else of the first format that it has."""
    return _family(next(iter(roles(recipe).values())))


def _family(name: str) -> str:
    lowered = name.lower()
    return next((kind for kind, starts in FAMILIES.items() if lowered.startswith(starts)), OTHER)


def scope(recipe: str) -> Scope:
    """Return what a recipe quantizes apart from the weights."""
    match "a" in (found := roles(recipe)), "kv" in found:
        case True, True:
            return Scope.BOTH
        case True, False:
            return Scope.INPUTS
        case False, True:
            return Scope.CACHE
    return Scope.WEIGHTS


def is_reference(point: PointResult) -> bool:
    """Whether this is the float32 model, the reference of all differences."""
    return point.recipe == FLOAT32.name


def keeps_weights(point: PointResult) -> bool:
    """Whether all weights stay in float32, so that bits per weight do not rank the point."""
    return not point.sqnr_db and point.bits_per_weight >= FLOAT_BITS


def holds_source_grid(point: PointResult) -> bool:
    """Whether the format reproduces the weights, because their source is quantized on its grid."""
    if point.definition.startswith(CHECKPOINT):
        return False
    if not point.sqnr_db:  # a layer that loses nothing at all has no ratio
        return not is_reference(point) and not keeps_weights(point)
    return statistics.median(point.sqnr_db.values()) > EXACT_DB
