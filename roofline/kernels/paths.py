"""The way a machine really takes through a product of two formats.

The formats alone don't say how fast it is: a machine multiplies operands that it has a unit for
(``native``), expands weights to such operands first (``dequantize``), or replaces products by
lookups in tables of partial sums (``lookup``; T-MAC, arXiv:2407.00088; bitnet.cpp).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from hw.cpu import Cores
from hw.machine import Machine
from roofline.kernels.loops import is_ternary, loop_instructions, shares_unpacking, tile_ops_per_s
from roofline.runtime.serving_format import CUBLAS_ENGINES, Lookup, Recipe
from roofline.runtime.storage import CONVERT_OPS, PLAIN, Storage

PathKind = Literal["native", "dequantize", "lookup"]
BITS = {"int4": 4, "fp4": 4, "int8": 8, "fp8": 8, "fp16": 16, "fp32": 32}
#: Halves that a vector unit of a GPU works on at once in place of a float32.
PACKED = 2.0
#: How many bytes llama.cpp's kernels of halves have on their way for each of kernels that expand
#: narrow weights, which load four bytes a thread too: as much faster as wider loads made them on an
#: H100 (its pull request 9816).
HALVES_LOADED = 1.33
#: Operations a cycle of a multiprocessor in the matrix instructions that NVIDIA's GPUs have since
#: Ampere (312e12 in FP16 of an A100's 108 at 1.41 GHz). Kernels of engines that expand weights use
#: them. Newer chips have other instructions for their peaks, and these at the old rate:
#: FlashAttention-2 has 225e12 of an A100's 312e12 (arXiv:2307.08691), 0.35 of an H100's 989e12
#: (arXiv:2407.08608), 381e12 of a B200's 2250e12 (its issue 1589), 0.64 to 0.72 of this rate.
AMPERE_OPS = {"fp16": 2048.0, "int8": 4096.0, "int4": 8192.0}
#: Operations of vector units for each one of a product in INT8, whose sums of 32 the kernels of
#: llama.cpp convert, multiply and add (``mmq.cuh``): for 64 operations three instructions, one of
#: them at half the rate (CUDA C++ Programming Guide, throughput of arithmetic instructions).
SCALING_OPS = 2.0 * 4 / 64
#: A half that is written and read again.
EXPANDED_BYTES = 4.0
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
    #: Operations of vector units to scale sums, for each operation of a product.
    scaling_ops: float = 0.0
    #: Whether the peak counts every instruction of a loop that runs for each token.
    is_counted: bool = False
    #: Whether tokens share the unpacking of weights in loops over products of INT8.
    unpacks_in_loop: bool = False
    #: Rate of such a loop over one token.
    one_token_ops_per_s: float | None = None
    #: Bytes on their way for products of a vector on a GPU, for each of kernels that expand narrow
    #: weights; inf where nothing but the memory limits them.
    loaded: float = math.inf
    #: Bytes that move for each weight where prompts expand all of a tensor before its product.
    expanded_bytes: float = 0.0
    #: Whether the vendor's library multiplies prompts.
    is_library: bool = False

    @property
    def title(self) -> str:
        """Name for people.

        >>> from hw.machine import load_machine
        >>> from roofline.runtime.serving_format import parse_recipe
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
    path = _dense_path(machine, recipe, storage, head=head, fastest=fastest)
    if machine.sparse_speedup is None or not storage.is_two_of_four:
        return path
    return replace(path, ops_per_s=machine.sparse_speedup.value * path.ops_per_s)


def _dense_path(
    machine: Machine, recipe: Recipe, storage: Storage, *, head: bool, fastest: bool
) -> Path:
    """Return the path of products with all their zeros."""
    if recipe.lookup is not None and machine.cores is not None and not head:
        # Nothing but the shuffle itself bounds every loop.
        instructions = 1.0 if fastest else _lookup_instructions(recipe.lookup, machine.cores)
        lookups = machine.cores.vector_bytes_per_s(instructions, widest=fastest)
        rate = 2.0 * recipe.lookup.weights * lookups
        return Path(kind="lookup", operand="int8", ops_per_s=rate, is_counted=True)
    activations = recipe.activations
    is_bound = fastest
    if recipe.kernel == "gguf":
        halves = machine.ops_per_s("fp16") if machine.kind == "gpu" else None
        is_slower = halves is not None and halves < (machine.ops_per_s("int8") or 0.0)
        is_int8 = is_slower and (fastest or _has_int8_kernels(machine, recipe))
        if storage.operand not in ("fp16", "fp32") and (halves is None or is_int8):
            # llama.cpp and bitnet.cpp quantize activations to INT8 for processors, for old GPUs,
            # and for NVIDIA's with matrix instructions of INT8.
            activations = "int8"
        # Where it multiplies halves it asks for sums of halves.
        fastest = True
    if storage.operand is not None and BITS[storage.operand] > BITS[activations]:
        # A product is as wide as its wider operand.
        activations = storage.operand
    if storage.operand is not None:
        peak = machine.ops_per_s(storage.operand, activations, fastest=fastest)
        if peak is not None:
            is_gguf = recipe.kernel == "gguf"
            return Path(
                kind="native",
                operand=storage.operand,
                ops_per_s=peak,
                loaded=HALVES_LOADED if is_gguf else math.inf,
                is_library=_has_library(machine, storage.operand, gguf=is_gguf),
            )
    is_gguf = recipe.kernel == "gguf"
    path = _expanded(machine, storage, activations, fastest=fastest, gguf=is_gguf)
    if machine.cores is None or not path.unpacks_in_loop or is_bound:
        return path
    return _in_loops(path, recipe, machine.cores)


def _has_int8_kernels(machine: Machine, recipe: Recipe) -> bool:
    """Return whether llama.cpp multiplies prompts in INT8 itself (its pull request 8075)."""
    return machine.vendor == "NVIDIA" and recipe.engine not in CUBLAS_ENGINES


def _in_loops(path: Path, recipe: Recipe, cores: Cores) -> Path:
    """Return how llama.cpp and its kin really multiply weights that are unpacked to INT8."""
    rate = 2.0 * cores.vector_bytes_per_s(loop_instructions(recipe, cores))
    if not shares_unpacking(recipe, cores):
        rate = min(rate, path.ops_per_s)
        return replace(path, ops_per_s=rate, is_counted=True, unpacks_in_loop=False)
    if recipe.engine != "llama.cpp":
        path = replace(path, ops_per_s=tile_ops_per_s(recipe, cores))
    return replace(
        path,
        one_token_ops_per_s=min(rate, path.ops_per_s),
        # Ternary weights have no scale in their loop, like operands that are not unpacked.
        unpacks_in_loop=not is_ternary(recipe),
    )


def _lookup_instructions(lookup: Lookup, cores: Cores) -> float:
    if cores.is_arm or lookup.avx2_instructions is None:
        return lookup.instructions
    return lookup.avx2_instructions


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
    in_memory = gguf and _has_library(machine, operand, gguf=True)
    if not fastest and not in_memory:
        rate = min(rate, _own_kernels_ops_per_s(machine, operand))
    return Path(
        kind="dequantize",
        operand=operand,
        ops_per_s=rate,
        # What loops unpack again and again is in the share of the peak that they reach.
        dequantize_ops=0.0 if gguf and not in_memory else per_weight,
        dequantize_ops_per_s=_expansion_rate(machine),
        scaling_ops=SCALING_OPS if gguf and operand == "int8" and machine.kind == "gpu" else 0.0,
        unpacks_in_loop=gguf and operand == "int8",
        loaded=math.inf if operand == "fp32" else 1.0,
        expanded_bytes=EXPANDED_BYTES if in_memory else 0.0,
        is_library=in_memory,
    )


def _has_library(machine: Machine, operand: str, *, gguf: bool) -> bool:
    """Return whether a library of the vendor multiplies prompts: cuBLAS, rocBLAS.

    llama.cpp's back ends for CUDA and ROCm give it halves, to which they expand weights in memory
    first where they have no products in INT8; Metal's own products expand on the chip.
    """
    return machine.kind == "gpu" and machine.vendor != "Apple" and (operand == "fp16" or not gguf)


def _own_kernels_ops_per_s(machine: Machine, operand: str) -> float:
    """Return the most that an engine's own kernels multiply; inf where nothing is known of them."""
    cycles = machine.multiprocessor_cycles_per_s
    if machine.vendor != "NVIDIA" or cycles is None:
        return math.inf
    return AMPERE_OPS.get(operand, math.inf) * cycles


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
