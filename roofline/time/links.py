"""Time of messages between machines, as GenZ 0.0.16 has them: rings, and a fixed start."""

from dataclasses import dataclass
from typing import Any

from hw.machine import GIGA, Machine

START_S = 5e-6
#: Of machines whose file has no link: PCIe 4.0 x16 in one direction, and a usual latency.
DEFAULT_GB_PER_S = 32.0
DEFAULT_LATENCY_US = 1.0
#: Of GPUs over PCIe: what NCCL takes for a few bytes beyond the fixed start, for each step of its
#: ring, median of 3.5 (all-reduce of 8 RTX 3090 in 54.2 us, nccl issue 1439), 2.7 (8 RTX 4090, 42.1
#: us, nccl issue 1530), 2.9 and 3.3 (all-gather of 4 and 2, 13.6 and 8.3 us, flashinfer PR 5023).
PCIE_LATENCY_US = 3.1
#: Of llama.cpp's copies between GPUs, which pass through the host: mean of 11.6 to 20.7 us between
#: eight RTX 3090 without access to one another (p2pBandwidthLatencyTest, nccl issue 1127). Its pull
#: request 2448 has speeds of 1 and 3 P40: for each product and other GPU two of them, 35 to 43 us.
#: NVLinks don't help (8 H100, 29 us; its issue 4747).
HOST_COPY_US = 14.7
#: Shares of a link's rate that messages get, as NCCL counts (``src/graph/topo.h``): 12 GB/s of the
#: 16 of PCIe 3.0 x16, and 20 GB/s of an NVLink's 25.
PCIE_SHARE, NVLINK_SHARE = 12 / 16, 20 / 25
#: Rates of PCIe x8 and x16 of versions 3.0 to 6.0 in both directions together.
PCIE_GB_PER_S = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What connects one machine with the next."""

    bytes_per_s: float
    latency_s: float


def link_of(machine: Machine, machines: int = 2) -> Link:
    """Return the link between machines; its bandwidth counts both directions, a message has one.

    A bridge connects few of them; more talk over PCIe.

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
    """Return the seconds in which every machine has the sum of everybody's message.

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
    """Return the seconds in which every machine has everybody's part of ``message_bytes``."""
    link, n = link_of(machine, machines), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * link.latency_s + (n - 1) / n * message_bytes / link.bytes_per_s


def all_to_all_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds in which every machine sends a part of its message to each other one.

    ``5 us + (N - 1) (latency + bytes / (N bandwidth))``.
    """
    link, n = link_of(machine, machines), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * (link.latency_s + message_bytes / n / link.bytes_per_s)


def rows_s(machine: Machine, machines: int, products: Any, moved_bytes: Any) -> Any:
    """Return the seconds in which products get inputs to rows on other machines, and outputs back.

    The first machine serves all others in turn; ``moved_bytes`` go in and out of all products.

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
