"""What share of its peaks a run is expected to reach: factors by kind of machine and path.

They come from :mod:`roofline.calibration`, except where a machine's file has its own.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from hw.machine import Machine
from hw.toml_reader import read_toml
from roofline.loops import LOOP_SHARE
from roofline.paths import Path

FILE = FilePath(__file__).parent / "efficiencies.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The numbers of ``efficiencies.toml``."""

    gpu_memory_share: float
    gpu_native_start_us: float
    gpu_dequantize_start_us: float
    #: Largest relative error of the fit.
    gpu_scatter: float
    cpu_memory_share: float
    cpu_native_compute_share: float
    cpu_dequantize_compute_share: float
    cpu_attention_compute_share: float
    cpu_wait_us: float
    #: Largest relative error of the fit.
    cpu_scatter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Shares of the peaks of one operator, and the time it takes to start."""

    compute: float = 1.0
    memory: float = 1.0
    start_s: float = 0.0


#: Nothing can beat it.
BOUND = Factors()


@cache
def fitted() -> Fitted:
    """Return the fitted numbers."""
    return read_toml(FILE, Fitted)


def last_of(threads: float) -> float:
    """Return how long the last of so many threads makes the first wait, for random delays of 1.

    The mean of the longest of n exponential delays is the n-th harmonic number (Kruskal and Weiss,
    IEEE TSE 11(10), 1985); the first is its own.

    >>> [round(last_of(n), 3) for n in (1, 2, 4)]
    [0.0, 0.5, 1.083]
    """
    return sum(1.0 / n for n in range(2, round(threads) + 1))


def expected_factors(machine: Machine, path: Path, *, threads: int | None = None) -> Factors:
    """Return the factors that a run of a product is expected to have.

    >>> from hw.machine import load_machine
    >>> from roofline.paths import weight_path
    >>> from roofline.recipe import parse_recipe
    >>> machine = load_machine("a100-sxm-40gb")
    >>> 0.7 < expected_factors(machine, weight_path(machine, parse_recipe("fp16"))).memory < 0.9
    True
    """
    numbers = fitted()
    own = machine.efficiency
    is_native = path.kind == "native" or path.operand == "fp32"
    compute = LOOP_SHARE if path.is_counted else numbers.cpu_native_compute_share
    if path.unpacks_in_loop:
        compute = numbers.cpu_dequantize_compute_share
    if machine.kind == "cpu":
        used = threads or (machine.cores.count.value if machine.cores else 1)
        memory, start_us = numbers.cpu_memory_share, numbers.cpu_wait_us * last_of(used)
    else:
        memory = numbers.gpu_memory_share
        start_us = numbers.gpu_native_start_us if is_native else numbers.gpu_dequantize_start_us
    if own is not None:
        compute = own.compute.value if own.compute else compute
        memory = own.memory.value if own.memory else memory
    return Factors(compute=compute, memory=memory, start_s=start_us * 1e-6)
