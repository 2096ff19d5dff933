"""Time of collective operations between machines: rings with a fixed start, as in GenZ 0.0.16."""

from dataclasses import dataclass
from typing import Any

from hw.machine import GIGA, Machine

START_S = 5e-6
#: Bandwidth in one direction and latency of machines whose files have no link: PCIe 4.0 x16.
DEFAULT_GB_PER_S = 32.0
DEFAULT_LATENCY_US = 1.0
#: Latency of one ring step of NCCL between GPUs over PCIe, in microseconds, after the fixed start:
#: median of 3.5 (all-reduce of 8 RTX 3090 in 54.2 us, nccl issue 1439), 2.7 (8 RTX 4090, 42.1
#: us, nccl issue 1530), 2.9 and 3.3 (all-gather of 4 and 2, 13.6 and 8.3 us, flashinfer PR 5023).
PCIE_LATENCY_US = 3.1
#: Latency of llama.cpp's copies between GPUs through the host, in microseconds: mean of 11.6 to
#: 20.7 us between eight RTX 3090 without peer access (p2pBandwidthLatencyTest, nccl issue 1127).
#: Speeds of 1 and 3 P40 (llama.cpp pull request 2448) give 35 to 43 us for the two copies of each
#: product and other GPU; NVLink does not help (8 H100, 29 us; llama.cpp issue 4747).
HOST_COPY_US = 14.7
#: Shares of a link's bandwidth that messages reach, as NCCL counts (``src/graph/topo.h``): 12 of
#: the 16 GB/s of PCIe 3.0 x16, and 20 of an NVLink's 25 GB/s.
PCIE_SHARE, NVLINK_SHARE = 12 / 16, 20 / 25
#: Bandwidths in GB/s of PCIe 3.0 to 6.0, x8 and x16, both directions together.
PCIE_GB_PER_S = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The link from one machine to the next, in one direction."""

    bytes_per_s: float
    latency_s: float


def link_of(machine: Machine, machines: int = 2) -> Link:
    """Return the link between machines in one direction; files give both directions together.

    More machines than a bridge connects use PCIe.

    >>> from hw.machine import load_machine
    >>> [round(link_of(load_machine("rtx-a6000"), n).bytes_per_s / 1e9, 1) for n in (2, 4)]
    [44.8, 24.0]
    """
    both = machine.link_gb_per_s.value if machine.link_gb_per_s else 2 * DEFAULT_GB_PER_S
    if machine.bridged_machines is not None and machines > machine.bridged_machines.value:
        both = 2 * DEFAULT_GB_PER_S
    is_pcie = both in PCIE_GB_PER_S
    share = PCIE_SHARE if is_pcie else NVLINK_SHARE
    latency = PCIE_LATENCY_US if is_pcie and machine.kind == "gpu" else DEFAULT_LATENCY_US
    if machine.link_latency_us is not None:
        latency = machine.link_latency_us.value
    return Link(bytes_per_s=share * both / 2 * GIGA, latency_s=latency * 1e-6)


def all_reduce_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds of an all-reduce: every machine gets the sum of all messages.

    ``5 us + 2 (N - 1) latency + 2 (N - 1) / N bytes / bandwidth``.

    >>> from hw.machine import load_machine
    >>> round(1e6 * all_reduce_s(load_machine("h100-sxm"), 8, 8192), 2)
    19.04
    """
    link, n = link_of(machine, machines), machines
    if n == 1:
        return 0.0
    moved = 2 * (n - 1) / n * message_bytes / link.bytes_per_s
    return START_S + 2 * (n - 1) * link.latency_s + moved


def all_gather_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds of an all-gather: every machine gets all parts of ``message_bytes``."""
    link, n = link_of(machine, machines), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * link.latency_s + (n - 1) / n * message_bytes / link.bytes_per_s


def all_to_all_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds of an all-to-all: every machine sends a part of its message to each other.

    ``5 us + (N - 1) (latency + bytes / (N bandwidth))``.
    """
    link, n = link_of(machine, machines), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * (link.latency_s + message_bytes / n / link.bytes_per_s)


def rows_s(machine: Machine, machines: int, products: Any, moved_bytes: Any) -> Any:
    """Return the seconds to send inputs to rows of weights on other machines, and results back.

    The first machine serves the others in turn; ``moved_bytes`` counts inputs and results.

    >>> from hw.machine import load_machine
    >>> round(1e3 * rows_s(load_machine("p40"), 3, 225, 0.0), 1)
    13.2
    """
    each = 2 * products * HOST_COPY_US * 1e-6 + moved_bytes / link_of(machine, machines).bytes_per_s
    return (machines - 1) * each


def send_s(machine: Machine, message_bytes: Any) -> Any:
    """Return the seconds of one message to the next machine."""
    link = link_of(machine)
    return link.latency_s + message_bytes / link.bytes_per_s
