"""What every test shares."""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]

#: Seconds of compilation from which on a program is kept.
WORTH_KEEPING_S = "0.02"


def modules_with_shapes() -> list[str]:
    """Return the modules whose functions say the shapes of arrays.

    Only those are checked while the tests run: a check takes longer than most functions of numbers.
    """
    paths = [path for room in ("numerics", "sim") for path in sorted((ROOT / room).rglob("*.py"))]
    named = [path for path in paths if "from jaxtyping import" in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in named]


def pytest_configure(config: pytest.Config) -> None:
    """Check shapes; let workers and the programs that tests start share what JAX compiles.

    It is shared in a temporary folder, or in the one that ``JAX_COMPILATION_CACHE_DIR`` names,
    where the next run finds it.
    """
    install_import_hook(modules_with_shapes(), "beartype.beartype")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", WORTH_KEEPING_S)
    if hasattr(config, "workerinput") or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    config.jax_programs = tempfile.mkdtemp(prefix="qsim-tests-jax-")  # type: ignore[attr-defined]
    os.environ["JAX_COMPILATION_CACHE_DIR"] = config.jax_programs  # type: ignore[attr-defined]


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and tests, which stay to the end."""
    gc.collect()
    gc.freeze()


#: Folders whose programs are compiled without most of XLA's optimisations: their tests compare
#: methods and models by a tolerance, or two runs of one program, and compiling is most of their
#: time. Tests of numbers that must not depend on how XLA fuses and rewrites a program are marked
#: ``optimized``.
QUICKLY_COMPILED = (ROOT / "tests" / "sim", ROOT / "tests" / "numerics" / "solvers")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose how much XLA optimises, also for fixtures; programs of another choice are dropped."""
    jax = sys.modules.get("jax")
    if jax is None:
        return
    quick = any(item.path.is_relative_to(folder) for folder in QUICKLY_COMPILED)
    quick = quick and item.get_closest_marker("optimized") is None
    if quick != jax.config.values["jax_disable_most_optimizations"]:
        jax.config.update("jax_disable_most_optimizations", quick)
        jax.clear_caches()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary folder."""
    if hasattr(config, "jax_programs"):
        shutil.rmtree(config.jax_programs, ignore_errors=True)
