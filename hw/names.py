"""Find a machine by its name, its title or an alias, with a number of machines or of threads.

``2x h100-sxm`` means two machines, ``raspberry-pi-5, 4 threads`` threads of a processor. A vendor's
name, separators and capital letters don't matter; any other word that the machine does not have is
an error, with the nearest name.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from hw.accelerator import list_accelerators
from hw.machine import GIB, Machine, list_machines, load_machine
from numerics.names.suggest import unknown

#: Names of vendors and their product lines, which may be left out.
VENDORS = frozenset(
    ["nvidia", "geforce", "amd", "intel", "apple", "qualcomm", "google", "aws", "radeon"]
)
#: The multiplication sign, which means an x here.
TIMES = "\u00d7"
#: Number of machines after a name and before it. A number counts machines only where the rest of
#: the text is a name, so that "5950X x4" and "7900 XT" keep their model numbers.
COUNTS = (
    re.compile(r"[\s-]+[x*]\s*(\d+)$"),
    re.compile(r"^(\d+)(?:x\s*|\s+x\s+|\s*\*\s*)(?=[a-z\d])"),
)
THREADS = re.compile(r"[\s,]+(\d+)\s*threads?$")
SIZE = re.compile(r"\b(\d+) ?g(?:i?b)?$")
#: Relative difference of a memory size in a name to that of the machine, up to which they agree.
SAME_SIZE = 0.07
#: Most machines that one name may ask for.
MOST_MACHINES = 999
#: Similarity from which a name is suggested.
NEAR = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine, and how much of it a text says is used."""

    machine: Machine
    #: Machines of this kind side by side.
    count: int = 1
    #: Threads of a processor; None if the text gives no number.
    threads: int | None = None


def find_machine(text: str) -> Found:
    """Return the machine that a text names exactly.

    Raises
    ------
    ValueError
        No machine has this name, or the number of machines or of threads can't be.

    Examples
    --------
    >>> find_machine("RTX 4090").machine.name, find_machine("4x H100 SXM").count
    ('rtx-4090', 4)
    >>> find_machine("raspberry-pi-5, 4 threads").threads
    4
    """
    whole = text.strip().lower().replace(TIMES, "x")
    count, threads, rest = _parts(whole)
    name = _named(rest)
    if name is None:
        near = near_machines(rest)
        raise ValueError(unknown("machine", text, list_machines(), see="qsim hw", near=near))
    if count is not None and not 1 <= count <= MOST_MACHINES:
        raise ValueError(f"{count} machines in {text!r}; from 1 to {MOST_MACHINES}")
    if threads == 0:
        raise ValueError(f"{text!r} means 0 threads; at least 1")
    return Found(machine=load_machine(name), count=count or 1, threads=threads)


def _parts(text: str) -> tuple[int | None, int | None, str]:
    """Return machines, threads and name: the first reading whose rest is a name, or the last."""
    if _named(text):
        return None, None, text
    found: tuple[int | None, int | None, str] = (None, None, text)
    for pattern in (None, *COUNTS):
        count, rest = (None, text) if pattern is None else _number(pattern, text)
        threads, rest = _number(THREADS, rest)
        if pattern is None or count is not None:
            found = count, threads, rest
        if _named(rest):
            break
    return found


def near_machines(text: str) -> list[str]:
    """Return the machine or accelerator with the name nearest to a text, if any is near.

    >>> near_machines("a100-40bg"), near_machines("H100 PCEI")
    (['a100-sxm-40gb'], ['h100-pcie'])
    """
    names = _names() | {_key(name): name for name in list_accelerators()}
    return [names[key] for key in get_close_matches(_key(text), names, n=1, cutoff=NEAR)]


def _number(pattern: re.Pattern[str], text: str) -> tuple[int | None, str]:
    """Return the number that a pattern finds, and the text without it."""
    match = pattern.search(text)
    if match is None:
        return None, text
    found = next(group for group in match.groups() if group is not None)
    return int(found), (text[: match.start()] + text[match.end() :]).strip()


def _named(text: str) -> str | None:
    """Return the machine of a name; one that ends in a memory size has to have that size."""
    found = _names().get(_key(text))
    size = SIZE.search(text)
    if found is not None or size is None:
        return found
    found = _names().get(_key(text[: size.start()]))
    if found is None:
        return None
    ratio = float(size[1]) * GIB / load_machine(found).capacity_bytes
    return found if abs(ratio - 1) < SAME_SIZE else None


@cache
def _names() -> dict[str, str]:
    """Return the machine of every name, by the name's key; built-in names come before others."""
    found = {_key(name): name for name in list_machines()}
    for name in list_machines():
        machine = load_machine(name)
        for other in (machine.title, *machine.aliases):
            found.setdefault(_key(other), name)
    return found


def _key(text: str) -> str:
    """Return a name without capitals, separators and vendors.

    >>> _key("NVIDIA H100 SXM5 80 GB"), _key("apple-m2-ultra")
    ('h100sxm580gb', 'm2ultra')
    """
    words = re.findall(r"[a-z0-9.+]+", text.lower())
    return "".join(word for word in words if word not in VENDORS)
