"""Machines that run models: GPUs, processors and NPUs, one TOML file each.

Every number of a file is a table with its value and its source; ``confirmed = false`` marks a
number that was not checked against its source::

    bandwidth_gb_per_s = { value = 2039, source = "NVIDIA A100 datasheet" }

Peaks are dense, two operations for each multiply-add; GB are 1e9 bytes. Memory is made of chips of
2**n bits, and the 80 GB on a card's box are GiB: files have ``capacity_gib``, from the driver's
report where it was read and from the data sheet elsewhere. A measured machine may give
``capacity_gb`` instead.
"""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hw.catalog import Catalog
from hw.cpu import ACCUMULATE, OPS_PER_CYCLE, Cores
from hw.dram import DRAM, DramEnergy
from hw.toml_reader import Sourced, read_toml

FOLDER = Path(__file__).parent / "machines"
KINDS = ("gpu", "cpu", "npu")
OPERANDS = ("fp32", "fp16", "fp8", "int8", "fp4", "int4")
TERA = 1e12
GIGA = 1e9
GIB = float(1 << 30)
#: Metadata of the fields whose numbers may be 0.
ZERO = {"may_be_zero": True}
#: Vendors whose GPUs have no GEMM library that inference engines call: engines bring their own
#: Metal kernels.
WITHOUT_GEMM_LIBRARY = frozenset(["Apple"])
#: Operations a cycle of a multiprocessor in the matrix instructions that NVIDIA's GPUs have had
#: since Ampere (312e12 in FP16 of an A100's 108 at 1.41 GHz), by operand type. Kernels that expand
#: weights use them on newer GPUs too, whose own instructions have higher peaks: FlashAttention-2
#: has 225e12 of an A100's 312e12 (arXiv:2307.08691), 0.35 of an H100's 989e12 (arXiv:2407.08608),
#: 381e12 of a B200's 2250e12 (its issue 1589), 0.64 to 0.72 of this rate.
PORTABLE_OPS_PER_CYCLE = {"NVIDIA": {"fp16": 2048.0, "int8": 4096.0, "int4": 8192.0}}

Operand = Literal["fp32", "fp16", "fp8", "int8", "fp4", "int4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Dense operations a second for one pair of operand types; fp16 stands for bf16 too."""

    weights: str
    activations: str
    accumulate: str
    tops: Sourced

    def __post_init__(self) -> None:
        for operand in (self.weights, self.activations):
            if operand not in OPERANDS:
                raise ValueError(f"operand {operand!r} is not one of {', '.join(OPERANDS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Measured shares of a machine's peaks."""

    compute: Sourced | None = None
    memory: Sourced | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One device with its memory."""

    name: str
    title: str
    vendor: str
    kind: str
    #: Kind of memory, a key of :data:`hw.dram.DRAM`.
    dram: str
    bandwidth_gb_per_s: Sourced
    #: Memory size in GiB or in GB; one of the two is given.
    capacity_gib: Sourced | None = None
    capacity_gb: Sourced | None = None
    #: Peak rates of matrix products; those of a CPU follow from ``cores``.
    peaks: tuple[Peak, ...] = ()
    cores: Cores | None = None
    #: Speedup of matrix products with 2:4 structured sparsity over dense ones; None without.
    sparse_speedup: Sourced | None = None
    #: Peak FP32 rate of everything but matrix products.
    vector_tops: Sourced | None = None
    #: Multiprocessors of a GPU (NVIDIA's SM, Apple's core, AMD's compute unit, since RDNA a pair of
    #: them), and their clock.
    multiprocessors: Sourced | None = None
    clock_ghz: Sourced | None = None
    #: NVIDIA's number of the instruction set, which decides the kernels that engines have for it.
    compute_capability: Sourced | None = None
    on_chip_kb: Sourced | None = None
    link_gb_per_s: Sourced | None = None
    link_latency_us: Sourced | None = field(default=None, metadata=ZERO)
    #: Machines that the link connects, where it is a bridge.
    bridged_machines: Sourced | None = None
    tdp_w: Sourced | None = None
    idle_w: Sourced | None = field(default=None, metadata=ZERO)
    process_nm: Sourced | None = None
    price_usd_per_hour: Sourced | None = field(default=None, metadata=ZERO)
    #: Whether the kind of memory is known; else it is assumed.
    dram_confirmed: bool = True
    #: Measured efficiency; None where the fitted one of the machine's kind is expected.
    efficiency: Efficiency | None = None
    #: Other names of the machine.
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        if self.dram not in DRAM:
            raise ValueError(f"dram is {self.dram!r}, not one of {', '.join(DRAM)}")
        if (self.cores is None) == (not self.peaks):
            raise ValueError("a machine has either peaks or cores, from which peaks follow")
        if (self.capacity_gib is None) == (self.capacity_gb is None):
            raise ValueError("a machine has either capacity_gib, in 2**30 bytes, or capacity_gb")

    @property
    def bytes_per_s(self) -> float:
        """Bandwidth of the memory."""
        return self.bandwidth_gb_per_s.value * GIGA

    @property
    def capacity_bytes(self) -> float:
        """Size of the memory.

        >>> load_machine("rtx-4090").capacity_bytes / 2**30
        24.0
        """
        if self.capacity_gib is not None:
            return self.capacity_gib.value * GIB
        assert self.capacity_gb is not None
        return self.capacity_gb.value * GIGA

    @property
    def dram_energy(self) -> DramEnergy:
        """Energy of reading or writing one bit of the memory."""
        return DRAM[self.dram]

    def ops_per_s(
        self, weights: str, activations: str | None = None, *, fastest: bool = True
    ) -> float | None:
        """Return the peak rate of matrix products of two operand types, or None if unsupported.

        ``fastest`` takes the fastest of several accumulators, else the slowest and widest.

        >>> machine = load_machine("a100-sxm-80gb")
        >>> machine.ops_per_s("fp16"), machine.ops_per_s("fp8")
        (312000000000000.0, None)
        """
        activations = activations or weights
        if self.cores is not None:
            has = weights == activations and weights in OPS_PER_CYCLE[self.cores.instructions]
            return self.cores.ops_per_s(weights) if has else None
        rates = [
            peak.tops.value * TERA
            for peak in self.peaks
            if (peak.weights, peak.activations) == (weights, activations)
        ]
        return (max if fastest else min)(rates, default=None)

    @property
    def native_peaks(self) -> dict[str, float]:
        """Peak of each operand type with weights and activations in that type.

        >>> load_machine("raspberry-pi-5").native_peaks["int8"]
        614400000000.0
        """
        rates = {operand: self.ops_per_s(operand) for operand in OPERANDS}
        return {operand: rate for operand, rate in rates.items() if rate is not None}

    @property
    def vector_ops_per_s(self) -> float:
        """Peak of vector operations; the FP32 peak of matrix products where it is unknown."""
        if self.vector_tops is not None:
            return self.vector_tops.value * TERA
        peaks = self.native_peaks
        return peaks.get("fp32") or min(peaks.values())

    @property
    def multiprocessor_cycles_per_s(self) -> float | None:
        """Cycles a second of all multiprocessors together; None where they are unknown.

        >>> load_machine("a100-sxm-40gb").multiprocessor_cycles_per_s
        152280000000.0
        """
        if self.multiprocessors is None or self.clock_ghz is None:
            return None
        return self.multiprocessors.value * self.clock_ghz.value * GIGA

    @property
    def has_gemm_library(self) -> bool:
        """Whether engines call a GEMM library of the GPU's vendor, such as cuBLAS or rocBLAS."""
        return self.kind == "gpu" and self.vendor not in WITHOUT_GEMM_LIBRARY

    @property
    def has_wgmma(self) -> bool:
        """Whether the GPU has Hopper's matrix instructions, which later GPUs don't have."""
        capability = self.compute_capability
        return capability is not None and 9 <= capability.value < 10

    def portable_ops_per_s(self, operand: str) -> float:
        """Return the rate of instructions that older GPUs of the vendor have; inf if unknown.

        >>> load_machine("h100-sxm").portable_ops_per_s("fp16") / 1e12
        535.2...
        """
        cycles, rates = self.multiprocessor_cycles_per_s, PORTABLE_OPS_PER_CYCLE.get(self.vendor)
        if cycles is None or rates is None:
            return math.inf
        return rates.get(operand, math.inf) * cycles

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Names of the numbers that were not checked against their source."""
        # Peaks that differ in the accumulator only have the same name.
        names = dict.fromkeys(name for name, one in numbers_of(self) if not one.confirmed)
        return tuple(names) if self.dram_confirmed else ("dram", *names)


def numbers_of(machine: Any) -> list[tuple[str, Sourced]]:
    """Return every number of a machine with its name, those of nested tables by dotted names."""
    found: list[tuple[str, Sourced]] = []
    for key in (one.name for one in fields(machine)):
        value = getattr(machine, key)
        if isinstance(value, Sourced):
            found.append((key, value))
        elif isinstance(value, tuple) and value and isinstance(value[0], Peak):
            for peak in value:
                name = f"peaks.{peak.weights}x{peak.activations}"
                found += [(f"{name}.{inner}", number) for inner, number in numbers_of(peak)]
        elif is_dataclass(value):
            found += [(f"{key}.{inner}", number) for inner, number in numbers_of(value)]
    return found


def peaks_of_cores(cores: Cores) -> dict[str, float]:
    """Return the peaks that follow from cores, with their accumulators' names.

    >>> list(peaks_of_cores(load_machine("raspberry-pi-5").cores))
    ['fp32 into fp32', 'fp16 into fp32', 'int8 into int32']
    """
    types = OPS_PER_CYCLE[cores.instructions]
    return {f"{name} into {ACCUMULATE[name]}": cores.ops_per_s(name) for name in types}


@cache
def list_machines() -> tuple[str, ...]:
    """Return the names that :func:`load_machine` knows."""
    return MACHINES.names()


@cache
def load_machine(name: str) -> Machine:
    """Return a built-in machine by its exact name."""
    return MACHINES.load(name)


def read_machine(path: Path) -> Machine:
    """Return the machine that a TOML file describes, or say which line and key is wrong."""
    return read_toml(path, Machine, name=path.stem)


MACHINES = Catalog(kind="machine", folder=FOLDER, read=read_machine, see="qsim hw")
