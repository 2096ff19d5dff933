"""Provenance of a report: the command that made it, versions, machine and time."""

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hw.measure import cpu_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProvenance:
    """What is needed to make a report again."""

    command: str
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    #: Seed of the noise on the source's grid, where there was any.
    seed: int | None
    machine: str
    created: str


def command_line() -> str:
    """Return the command as it was typed, the program without its folder."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of installed packages by their names.

    >>> list(versions("qsim-codesign", "numpy"))
    ['python', 'qsim-codesign', 'numpy']
    """
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def machine() -> str:
    """Name the processor, the number of cores that this process may use, and the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu_name()}, {cores} core{'s' if cores != 1 else ''}, {platform.system()}"


def created() -> str:
    """Return the time of now in UTC, to the minute."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
