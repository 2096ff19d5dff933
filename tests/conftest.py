"""What every test shares."""

import os
import shutil
import tempfile

import pytest

#: Seconds of compilation from which on a program is kept.
WORTH_KEEPING_S = "0.1"


def pytest_configure(config: pytest.Config) -> None:
    """Let workers and the programs that tests start share what JAX compiles, for this run only."""
    if hasattr(config, "workerinput"):
        return
    config.jax_programs = tempfile.mkdtemp(prefix="qsim-tests-jax-")  # type: ignore[attr-defined]
    os.environ["JAX_COMPILATION_CACHE_DIR"] = config.jax_programs  # type: ignore[attr-defined]
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = WORTH_KEEPING_S


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    if hasattr(config, "jax_programs"):
        shutil.rmtree(config.jax_programs, ignore_errors=True)
