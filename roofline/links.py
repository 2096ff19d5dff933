"""Time of messages between machines, as GenZ 0.0.16 has them: rings, and a fixed start."""

from dataclasses import dataclass
from typing import Any

from hw.machine import GIGA, Machine

START_S = 5e-6
#: Of machines whose file has no link: PCIe 4.0 x16 in one direction, and a usual latency.
DEFAULT_GB_PER_S = 32.0
DEFAULT_LATENCY_US = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What connects one machine with the next."""

    bytes_per_s: float
    latency_s: float


def link_of(machine: Machine) -> Link:
    """Return the link of a machine; its bandwidth counts both directions, a message has one."""
    latency = machine.link_latency_us.value if machine.link_latency_us else DEFAULT_LATENCY_US
    rate = machine.link_gb_per_s.value / 2 if machine.link_gb_per_s else DEFAULT_GB_PER_S
    return Link(bytes_per_s=rate * GIGA, latency_s=latency * 1e-6)


def all_reduce_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds in which every machine has the sum of everybody's message.

    ``5 us + 2 (N - 1) latency + 2 (N - 1) / N bytes / bandwidth``.

    >>> from hw.machine import load_machine
    >>> round(1e6 * all_reduce_s(load_machine("h100-sxm"), 8, 8192), 2)
    19.03
    """
    link, n = link_of(machine), machines
    if n == 1:
        return 0.0
    moved = 2 * (n - 1) / n * message_bytes / link.bytes_per_s
    return START_S + 2 * (n - 1) * link.latency_s + moved


def all_gather_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds in which every machine has everybody's part of ``message_bytes``."""
    link, n = link_of(machine), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * link.latency_s + (n - 1) / n * message_bytes / link.bytes_per_s


def all_to_all_s(machine: Machine, machines: int, message_bytes: Any) -> Any:
    """Return the seconds in which every machine sends a part of its message to each other one.

    ``5 us + (N - 1) (latency + bytes / (N bandwidth))``.
    """
    link, n = link_of(machine), machines
    if n == 1:
        return 0.0
    return START_S + (n - 1) * (link.latency_s + message_bytes / n / link.bytes_per_s)


def send_s(machine: Machine, message_bytes: Any) -> Any:
    """Return the seconds of one message to the next machine."""
    link = link_of(machine)
    return link.latency_s + message_bytes / link.bytes_per_s
