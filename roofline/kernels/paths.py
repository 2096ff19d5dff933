"""Product paths: how a machine multiplies two formats, and at what peak.

The formats alone don't say how fast a product is: a machine multiplies operands that it has a unit
for (``native``), expands weights to such operands first (``dequantize``), or replaces products by
lookups in tables of partial sums (``lookup``; T-MAC, arXiv:2407.00088; bitnet.cpp).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from hw.cpu import Cores
from hw.machine import Machine
from roofline.kernels.loops import (
    base_type,
    is_ternary,
    loop_instructions,
    shares_unpacking,
    tile_ops_per_s,
)
from roofline.runtime.activations import as_run, possible_activations
from roofline.runtime.engine import Engine, engine_for
from roofline.runtime.serving_format import Lookup, ServingFormat
from roofline.runtime.storage import CONVERT_OPS, PLAIN, Storage

PathKind = Literal["native", "dequantize", "lookup"]
BITS = {"int4": 4, "fp4": 4, "int8": 8, "fp8": 8, "fp16": 16, "fp32": 32}
#: FP16 operations that a vector unit of a GPU does in place of one FP32 operation.
PACKED = 2.0
#: Bytes to write an FP16 value and to read it again.
EXPANDED_BYTES = 4.0
#: Operand types that a machine may multiply in place of a type that it has no unit for, nearest
#: first.
WIDER = {
    "int4": ("int4", "int8", "fp16", "fp32"),
    "fp4": ("fp4", "fp8", "fp16", "fp32"),
    "int8": ("int8", "fp16", "fp32"),
    "fp8": ("fp8", "fp16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "fp32": ("fp32", "fp16"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPath:
    """How matrix products of one kind run, and at what peak."""

    kind: PathKind
    #: Operand type that is multiplied.
    operand: str
    ops_per_s: float
    #: Vector operations to expand one weight, and their peak rate.
    dequantize_ops: float = 0.0
    dequantize_ops_per_s: float = 1.0
    #: Vector operations to scale group sums, per operation of the matrix product.
    scaling_ops: float = 0.0
    #: Whether the peak counts every instruction of a loop that runs for each token.
    is_counted: bool = False
    #: Whether loops over INT8 products unpack weights once for several tokens.
    unpacks_in_loop: bool = False
    #: Peak of the loop for a single token, in operations/s; None without a separate loop.
    one_token_ops_per_s: float | None = None
    #: Bytes in flight of matrix-vector kernels on a GPU, over those of kernels that expand narrow
    #: weights; inf where only the memory limits them.
    bytes_in_flight: float = math.inf
    #: Bytes moved for each weight where a whole tensor is expanded before its GEMM in a prompt.
    expanded_bytes: float = 0.0
    #: Whether the GEMMs of prompts run in the vendor's library, such as cuBLAS.
    is_library: bool = False

    @property
    def title(self) -> str:
        """Name for people.

        >>> from hw.machine import load_machine
        >>> from roofline.runtime.serving_format import parse_format
        >>> weight_path(load_machine("h100-sxm"), parse_format("w4a16")).title
        'dequantize to fp16'
        """
        joined = {"native": f"native {self.operand}", "dequantize": f"dequantize to {self.operand}"}
        return joined.get(self.kind, "table lookup")


def weight_path(
    machine: Machine,
    fmt: ServingFormat,
    engine: Engine | None = None,
    *,
    head: bool = False,
    fastest: bool = True,
) -> ProductPath:
    """Return the path of a matrix product of weights and activations.

    ``fastest`` takes the fastest of all paths that the machine has, with the narrowest accumulator
    where it has several, and the fastest kernels that any engine could have, as a bound needs it.
    """
    engine = engine or engine_for(fmt)
    fmt = as_run(fmt, machine, engine)
    storage = fmt.head if head and fmt.mix is None else fmt.weights
    if fmt.lookup is not None and machine.cores is not None and not head:
        path = _lookup_path(fmt.lookup, machine.cores, fastest=fastest)
    elif fastest:
        path = _fastest_path(machine, fmt, engine, storage)
    else:
        path = _dense_path(machine, fmt, engine, storage, fastest=False)
    if machine.sparse_speedup is None or not storage.is_two_of_four:
        return path
    return replace(path, ops_per_s=machine.sparse_speedup.value * path.ops_per_s)


def _lookup_path(lookup: Lookup, cores: Cores, *, fastest: bool) -> ProductPath:
    """Return the path of table lookups; a bound counts the shuffle of each lookup alone."""
    instructions = 1.0 if fastest else _lookup_instructions(lookup, cores)
    lookups = cores.vector_bytes_per_s(instructions, widest=fastest)
    rate = 2.0 * lookup.weights * lookups
    return ProductPath(kind="lookup", operand="int8", ops_per_s=rate, is_counted=True)


def _lookup_instructions(lookup: Lookup, cores: Cores) -> float:
    if cores.is_arm or lookup.avx2_instructions is None:
        return lookup.instructions
    return lookup.avx2_instructions


def _fastest_path(
    machine: Machine, fmt: ServingFormat, engine: Engine, storage: Storage
) -> ProductPath:
    """Return the fastest path of any engine: of all activations, and of wider operands for them.

    Of equally fast paths it is the one that the engine takes.
    """
    usual = _dense_path(machine, fmt, engine, storage, fastest=True)
    paths = [usual]
    for activations in possible_activations(fmt):
        for wider in (activations, *WIDER[activations][1:]):
            other = replace(fmt, activations=wider, native_activations=None)
            paths.append(_dense_path(machine, other, engine, storage, fastest=True))
    return max(paths, key=lambda path: path.ops_per_s)


def _dense_path(
    machine: Machine, fmt: ServingFormat, engine: Engine, storage: Storage, *, fastest: bool
) -> ProductPath:
    """Return the path of multiplications, those with zeros included."""
    if not (fastest or engine.has_fast_bf16) and base_type(fmt) == "bf16":
        return ProductPath(kind="native", operand="fp32", ops_per_s=machine.vector_ops_per_s)
    activations = _multiplied_activations(machine, fmt, engine, storage, fastest=fastest)
    narrowest = fastest or engine.accumulates_fp16
    if storage.operand is not None:
        peak = machine.ops_per_s(storage.operand, activations, fastest=narrowest)
        if peak is not None:
            return ProductPath(
                kind="native",
                operand=storage.operand,
                ops_per_s=peak,
                bytes_in_flight=engine.gpu.fp16_bytes_in_flight if engine.gpu else math.inf,
                is_library=engine.uses_library(machine, storage.operand),
            )
    path = _expanded(machine, engine, storage, activations, fastest=narrowest)
    if machine.cores is None or not path.unpacks_in_loop or fastest:
        return path
    return _in_loops(path, fmt, engine, machine.cores)


def _multiplied_activations(
    machine: Machine, fmt: ServingFormat, engine: Engine, storage: Storage, *, fastest: bool
) -> str:
    """Return the type in which activations are multiplied; a product takes its wider operand."""
    activations = fmt.activations
    is_fp4 = storage.operand == "fp4" and (fastest or engine.multiplies_fp4)
    has_fp4 = machine.kind == "gpu" and machine.ops_per_s("fp4") is not None
    if engine.quantizes_activations and is_fp4 and has_fp4:
        return "fp4"
    is_narrow = storage.operand not in ("fp16", "fp32")
    if engine.quantizes_activations and is_narrow and _has_int8(machine, engine, fastest=fastest):
        activations = "int8"
    if storage.operand is not None and BITS[storage.operand] > BITS[activations]:
        return storage.operand
    return activations


def _has_int8(machine: Machine, engine: Engine, *, fastest: bool) -> bool:
    """Return whether prompts are multiplied in INT8; a bound supposes kernels for every vendor."""
    # CPUs, and GPUs without FP16 units, always multiply in INT8.
    fp16_rate = machine.ops_per_s("fp16") if machine.kind == "gpu" else None
    if fp16_rate is None:
        return True
    is_faster = fp16_rate < (machine.ops_per_s("int8") or 0.0)
    return is_faster and (fastest or machine.vendor in engine.int8_vendors)


def _in_loops(path: ProductPath, fmt: ServingFormat, engine: Engine, cores: Cores) -> ProductPath:
    """Return how CPU loops multiply weights that they unpack to INT8."""
    rate = 2.0 * cores.vector_bytes_per_s(loop_instructions(fmt, engine, cores))
    if not shares_unpacking(fmt, engine, cores):
        rate = min(rate, path.ops_per_s)
        return replace(path, ops_per_s=rate, is_counted=True, unpacks_in_loop=False)
    path = replace(path, ops_per_s=tile_ops_per_s(engine, cores))
    return replace(
        path,
        one_token_ops_per_s=min(rate, path.ops_per_s),
        # Ternary weights have no scale in their loop, like operands that are not unpacked.
        unpacks_in_loop=not is_ternary(fmt),
    )


def attention_path(machine: Machine, fmt: ServingFormat, *, fastest: bool = True) -> ProductPath:
    """Return the path of attention: at least FP16, with the KV cache expanded to it."""
    wanted = "fp32" if machine.kind == "cpu" or fmt.activations == "fp32" else "fp16"
    operand, rate = _supported(machine, wanted, fastest=fastest)
    # A number of the cache is expanded once for two multiply-adds of each query head.
    kind: PathKind = "native" if fmt.kv in PLAIN else "dequantize"
    return ProductPath(kind=kind, operand=operand, ops_per_s=rate)


def _expanded(
    machine: Machine, engine: Engine, storage: Storage, activations: str, *, fastest: bool
) -> ProductPath:
    operand, rate = _supported(machine, activations, fastest=fastest)
    in_memory = engine.expands_in_memory and engine.uses_library(machine, operand)
    has_own = in_memory or (machine.has_wgmma and not engine.unpacks_in_loop)
    if not fastest and not has_own:
        rate = min(rate, machine.portable_ops_per_s(operand))
    per_weight = CONVERT_OPS if storage.operand == operand else storage.dequantize_ops
    # What a loop unpacks again and again is part of the share of the peak that it reaches.
    is_in_loop = engine.unpacks_in_loop and not in_memory
    backend = engine.backend(machine) if operand == "int8" else None
    return ProductPath(
        kind="dequantize",
        operand=operand,
        ops_per_s=rate,
        dequantize_ops=0.0 if is_in_loop else per_weight,
        dequantize_ops_per_s=_expansion_rate(machine),
        scaling_ops=backend.int8_scaling_ops if backend else 0.0,
        unpacks_in_loop=engine.unpacks_in_loop and operand == "int8",
        bytes_in_flight=math.inf if operand == "fp32" else 1.0,
        expanded_bytes=EXPANDED_BYTES if in_memory else 0.0,
        is_library=in_memory,
    )


def _supported(machine: Machine, operand: str, *, fastest: bool) -> tuple[str, float]:
    """Return the nearest operand type that a machine multiplies, and its peak."""
    for wider in WIDER[operand]:
        rate = machine.ops_per_s(wider, fastest=fastest)
        if rate is not None:
            return wider, rate
    # A machine that multiplies only integers computes floats by integers at best.
    return max(machine.native_peaks.items(), key=lambda pair: pair[1])


def _expansion_rate(machine: Machine) -> float:
    """Return the rate of shifts and masks that expand weights, in operations a second.

    A CPU has two ports for whole vectors of bytes, which is what its INT8 peak counts.
    """
    if machine.cores is not None:
        return machine.cores.ops_per_s("int8")
    return PACKED * machine.vector_ops_per_s
