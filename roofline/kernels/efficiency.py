"""Efficiencies: shares of the peaks that runs reach, by kind of machine and product path.

They are fitted by :mod:`roofline.measured.calibration`; a machine's file may have its own.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hw.machine import GIGA, Machine
from hw.toml_reader import read_toml
from roofline.kernels.loops import LOOP_SHARE
from roofline.kernels.paths import ProductPath

FILE = Path(__file__).parent / "efficiencies.toml"
#: Clock in GHz of machines whose clock is unknown: that of the A100 on which starts were measured.
USUAL_CLOCK_GHZ = 1.41
#: Share of the peak that a vendor's GEMM library reaches, without losses at the edges of tiles, by
#: vendor and operand type (``narrow``: 8 bits or less). Medians of Bekman's "Maximum Achievable
#: Matmul FLOPS" tables (stas00/ml-engineering). FP16: A100 SXM 0.87 and PCIe 0.81, GH200 0.84, H100
#: 0.80, B300 0.79, B200 0.78, GB200 0.73; of AMD MI250X 0.77, MI325X 0.60, MI300X 0.51. FP8: GH200
#: 0.78, H100 0.71, and NVFP4 on a B200 0.74.
LIBRARY_SHARE = {("NVIDIA", "fp16"): 0.80, ("NVIDIA", "narrow"): 0.74, ("AMD", "fp16"): 0.60}
#: Rate of kernels that expand weights between memory and matrix units, for many tokens, over that
#: of the library's GEMM of the same operands. Marlin: prompts of Llama-2-7B and 13B on an A100 in
#: groups of 128: 0.82 to 0.90 (HandH1998/QQQ issue 15); GEMMs of 16384 tokens on an A6000 0.82
#: (marlin issue 21); requests on an A100 0.79 (gpustack); the first version 0.60 (vLLM pull request
#: 2497). With wgmma, on Hopper, Machete takes as long as FP16 (vLLM pull requests 7174 and 7701;
#: requests on an H100 1.02, gpustack).
EXPANDING_SHARE, WGMMA_EXPANDING_SHARE = 0.82, 1.0
#: Threads up to which the harmonic number is summed; its limit is as exact for more.
MOST_SUMMED, EULER_GAMMA = 10_000, 0.5772156649


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The fitted numbers of ``efficiencies.toml``; shares are of a peak or of the bandwidth."""

    gpu_memory_share: float
    #: Weight bytes that one multiprocessor reads in a cycle in a kernel that expands them.
    gpu_expanded_bytes_per_cycle: float
    gpu_native_start_cycles: float
    gpu_dequantize_start_cycles: float
    #: Shares of the INT8 and of the FP4 peak that llama.cpp's tiles of a prompt reach.
    gpu_tile_share: float
    gpu_fp4_tile_share: float
    #: Rate of those tiles for experts over that for dense layers.
    gpu_expert_rate: float
    #: Largest relative error of the fit on GPUs.
    gpu_scatter: float
    cpu_memory_share: float
    cpu_native_compute_share: float
    cpu_dequantize_compute_share: float
    cpu_attention_compute_share: float
    cpu_wait_us: float
    #: Largest relative error of the fit on CPUs.
    cpu_scatter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Shares of the peaks that one operator reaches, and the time to start its kernel."""

    compute: float = 1.0
    memory: float = 1.0
    start_s: float = 0.0
    #: Cap on weight bytes/s in matrix-vector kernels; inf if only DRAM limits it.
    vector_bytes_per_s: float = math.inf


#: Factors of a bound: full peaks, no start.
BOUND = Factors()


@cache
def fitted() -> Fitted:
    """Return the fitted numbers."""
    return read_toml(FILE, Fitted)


def last_of(threads: float) -> float:
    """Return the mean wait for the last of ``threads`` threads, in mean delays of one thread.

    The mean of the longest of n exponential delays is the n-th harmonic number (Kruskal and Weiss,
    IEEE TSE 11(10), 1985); one of these delays is the thread's own.

    >>> [round(last_of(n), 3) for n in (1, 2, 4)]
    [0.0, 0.5, 1.083]
    """
    count = round(threads)
    if count > MOST_SUMMED:
        return math.log(count) + EULER_GAMMA - 1.0
    return sum((1.0 / n for n in range(2, count + 1)), 0.0)


def expected_factors(machine: Machine, path: ProductPath, *, threads: int | None = None) -> Factors:
    """Return the factors that a kernel on a path is expected to have.

    >>> from hw.machine import load_machine
    >>> from roofline.kernels.paths import weight_path
    >>> from roofline.runtime.serving_format import parse_format
    >>> machine = load_machine("a100-sxm-40gb")
    >>> 0.7 < expected_factors(machine, weight_path(machine, parse_format("fp16"))).memory < 0.9
    True
    """
    numbers = fitted()
    own = machine.efficiency
    compute = LOOP_SHARE if path.is_counted else numbers.cpu_native_compute_share
    if path.unpacks_in_loop:
        compute = numbers.cpu_dequantize_compute_share
    vector_bytes_per_s = math.inf
    if machine.kind == "cpu":
        used = threads or (machine.cores.count.value if machine.cores else 1)
        memory, start_s = numbers.cpu_memory_share, numbers.cpu_wait_us * 1e-6 * last_of(used)
    else:
        memory, start_s = numbers.gpu_memory_share, _gpu_start_s(machine, path)
        compute = _gpu_compute_share(machine, path)
        cycles = machine.multiprocessor_cycles_per_s
        if cycles is not None:
            per_cycle = path.bytes_in_flight * numbers.gpu_expanded_bytes_per_cycle
            vector_bytes_per_s = per_cycle * cycles
    if own is not None:
        compute = own.compute.value if own.compute else compute
        memory = own.memory.value if own.memory else memory
    return Factors(
        compute=compute, memory=memory, start_s=start_s, vector_bytes_per_s=vector_bytes_per_s
    )


def _gpu_compute_share(machine: Machine, path: ProductPath) -> float:
    """Return the share of the peak of a GPU's kernels for many tokens.

    Kernels without a published share take that of CPUs.
    """
    numbers = fitted()
    if path.unpacks_in_loop:
        return numbers.gpu_tile_share
    library = _library_share(machine, path.operand)
    if path.is_library:
        return library or numbers.cpu_native_compute_share
    if path.operand == "fp4":
        return numbers.gpu_fp4_tile_share
    if path.kind == "dequantize" and library is not None:
        expanding = WGMMA_EXPANDING_SHARE if machine.has_wgmma else EXPANDING_SHARE
        return expanding * library
    return numbers.cpu_native_compute_share


def _library_share(machine: Machine, operand: str) -> float | None:
    """Return the share that a vendor's library reaches; None where it is not measured."""
    return LIBRARY_SHARE.get((machine.vendor, "fp16" if operand == "fp16" else "narrow"))


def _is_native(path: ProductPath) -> bool:
    return path.kind == "native" or path.operand == "fp32"


def _gpu_start_s(machine: Machine, path: ProductPath) -> float:
    """Return the time to schedule blocks, for a first read and a last sum; constant in cycles."""
    numbers = fitted()
    native, expanded = numbers.gpu_native_start_cycles, numbers.gpu_dequantize_start_cycles
    clock_ghz = machine.clock_ghz.value if machine.clock_ghz else USUAL_CLOCK_GHZ
    return (native if _is_native(path) else expanded) / (clock_ghz * GIGA)
