"""The way a machine really takes through a product of two formats.

The formats alone don't say how fast it is: a machine multiplies operands that it has a unit for
(``native``), expands weights to such operands first (``dequantize``), or replaces products by
lookups in tables of partial sums (``lookup``; T-MAC, arXiv:2407.00088; bitnet.cpp).
"""

from dataclasses import dataclass
from typing import Literal

from hw.cpu import LOOKUPS_PER_CYCLE
from hw.machine import Machine
from roofline.recipe import Recipe
from roofline.storage import CONVERT_OPS, PLAIN, Storage

PathKind = Literal["native", "dequantize", "lookup"]
BITS = {"int4": 4, "fp4": 4, "int8": 8, "fp8": 8, "fp16": 16, "fp32": 32}
#: Halves that a vector unit of a GPU works on at once in place of a float32.
PACKED = 2.0
#: What an operand is expanded to where a machine has no unit for it, nearest first.
WIDER = {
    "int4": ("int4", "int8", "fp16", "fp32"),
    "fp4": ("fp4", "fp8", "fp16", "fp32"),
    "int8": ("int8", "fp16", "fp32"),
    "fp8": ("fp8", "fp16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "fp32": ("fp32", "fp16"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How products of one kind run, and at what peak."""

    kind: PathKind
    #: Operand type that is multiplied.
    operand: str
    ops_per_s: float
    #: Operations for each weight to expand it, and their peak.
    dequantize_ops: float = 0.0
    dequantize_ops_per_s: float = 1.0

    @property
    def title(self) -> str:
        """Name for people.

        >>> from hw.machine import load_machine
        >>> from roofline.recipe import parse_recipe
        >>> weight_path(load_machine("h100-sxm"), parse_recipe("w4a16")).title
        'dequantize to fp16'
        """
        joined = {"native": f"native {self.operand}", "dequantize": f"dequantize to {self.operand}"}
        return joined.get(self.kind, "table lookup")


def weight_path(
    machine: Machine, recipe: Recipe, *, head: bool = False, fastest: bool = True
) -> Path:
    """Return the path of a product of weights and activations.

    ``fastest`` takes the peak with the narrowest accumulator where a machine has several.
    """
    storage = recipe.head if head and recipe.mix is None else recipe.weights
    is_lookup = recipe.kernel == "lookup" and not head
    if is_lookup and machine.cores is not None and recipe.weights_per_lookup:
        lookups = LOOKUPS_PER_CYCLE[machine.cores.instructions]
        rate = lookups * machine.cores.count.value * machine.cores.hertz
        ops = 2.0 * recipe.weights_per_lookup * rate
        return Path(kind="lookup", operand="int8", ops_per_s=ops)
    activations = recipe.activations
    if recipe.kernel == "gguf":
        if storage.operand not in ("fp16", "fp32") and (machine.kind == "cpu" or fastest):
            # llama.cpp and bitnet.cpp quantize activations to INT8, on GPUs where it is faster.
            activations = "int8"
        # Where it multiplies halves it asks for sums of halves.
        fastest = True
    if storage.operand is not None and BITS[storage.operand] > BITS[activations]:
        # A product is as wide as its wider operand.
        activations = storage.operand
    if storage.operand is not None:
        peak = machine.ops_per_s(storage.operand, activations, fastest=fastest)
        if peak is not None:
            return Path(kind="native", operand=storage.operand, ops_per_s=peak)
    is_gguf = recipe.kernel == "gguf"
    return _expanded(machine, storage, activations, fastest=fastest, gguf=is_gguf)


def attention_path(machine: Machine, recipe: Recipe, *, fastest: bool = True) -> Path:
    """Return the path of scores and values: at least FP16, with the cache expanded to it."""
    wanted = "fp32" if machine.kind == "cpu" or recipe.activations == "fp32" else "fp16"
    operand, rate = _supported(machine, wanted, fastest=fastest)
    if recipe.kv in PLAIN:
        return Path(kind="native", operand=operand, ops_per_s=rate)
    # Expanding the cache is no work beside two products for each of its numbers.
    return Path(kind="dequantize", operand=operand, ops_per_s=rate)


def _expanded(
    machine: Machine, storage: Storage, activations: str, *, fastest: bool, gguf: bool
) -> Path:
    operand, rate = _supported(machine, activations, fastest=fastest)
    per_weight = CONVERT_OPS if storage.operand == operand else storage.dequantize_ops
    if machine.kind == "cpu" and gguf:
        # Its loops over products unpack weights for each token; that is in the share they reach.
        per_weight = 0.0
    return Path(
        kind="dequantize",
        operand=operand,
        ops_per_s=rate,
        dequantize_ops=per_weight,
        dequantize_ops_per_s=_expansion_rate(machine),
    )


def _supported(machine: Machine, operand: str, *, fastest: bool) -> tuple[str, float]:
    for wider in WIDER[operand]:
        rate = machine.ops_per_s(wider, fastest=fastest)
        if rate is not None:
            return wider, rate
    # Machines of integers alone compute floats by integers at best.
    return max(machine.native_peaks.items(), key=lambda pair: pair[1])


def _expansion_rate(machine: Machine) -> float:
    """Return operations a second of shifts and masks: in bytes where a processor has those.

    Two ports work on whole vectors of bytes, which is what a peak in INT8 counts.
    """
    if machine.cores is not None:
        return machine.cores.ops_per_s("int8")
    return PACKED * machine.vector_ops_per_s
