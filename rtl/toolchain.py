"""The tools that read and run hardware: where they are, and what to install where they are not.

Yosys ends the whole process on an error and remembers designs, so every use of it is a process of
its own, which runs a script of Yosys commands.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

EXTRA = "install the extra: pip install 'qsim-codesign[rtl]'"
#: Yosys may take long for large designs, but not for ever.
TIMEOUT_S = 900
RUNNER = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for command in sys.stdin.read().splitlines():
    ys.run_pass(command, design)
"""


class ToolError(RuntimeError):
    """A tool is missing, or refused what it was given."""


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


def run_yosys(commands: list[str], folder: Path) -> str:
    """Run Yosys commands in a folder; return what it printed."""
    need_module("pyosys")
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUNNER],
            input="\n".join(commands),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"yosys: not done after {TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ToolError(f"yosys: {lines[-1] if lines else 'ended without a word'}")
    return done.stdout
