"""Libraries are built once; without a compiler the result is None."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from numerics.native import compiled
from numerics.native.compiled import COMPILERS, library

# A loaded library stays loaded; each test must see the files.
load = library.__wrapped__
TEXT = 'extern "C" int answer() { return ANSWER; }'
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler"
)


@pytest.fixture
def source(monkeypatch, tmp_path):
    monkeypatch.setenv("QSIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "loops.cc"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def commands(monkeypatch):
    """Arguments of the compiler."""
    asked, run = [], compiled._run

    def spy(command):
        asked.append(command)
        return run(command)

    monkeypatch.setattr(compiled, "_run", spy)
    return asked


def kept(source):
    return sorted((source.parent / "cache" / "compiled").iterdir())


def replace_compiler(monkeypatch, folder, script):
    """Replace all compilers by a shell script."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(path))


@needs_compiler
def test_a_library_is_compiled_once_for_each_source_and_macros(source, commands):
    assert load(source, ANSWER=42).answer() == 42
    assert (len(kept(source)), len(commands)) == (1, 2)
    assert load(source, ANSWER=7).answer() == 7
    assert (len(kept(source)), len(commands)) == (2, 4)
    assert load(source, ANSWER=42).answer() == 42
    assert len(commands) == 5 and "-dM" in commands[-1]
    source.write_text(TEXT.replace("return", "return 1 +"), encoding="utf-8")
    assert load(source, ANSWER=42).answer() == 43
    assert len(kept(source)) == 3


def test_without_a_compiler_there_is_no_library(source, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert load(source, ANSWER=42) is None


@needs_compiler
def test_without_a_place_to_keep_it_a_library_is_compiled_each_time(source, commands, monkeypatch):
    monkeypatch.setenv("QSIM_CACHE", str(source))
    assert [load(source, ANSWER=42).answer() for _ in range(2)] == [42, 42]
    assert len(commands) == 4


def test_without_a_home_there_is_no_library(source, monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("QSIM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert load(source, ANSWER=42) is None


@needs_compiler
def test_a_wrong_source_gives_no_library(source):
    source.write_text("int answer() {", encoding="utf-8")
    assert load(source, ANSWER=42) is None
    assert not (source.parent / "cache").exists()


# The last two arguments are the library and its source.
WRITE = 'shift $(($# - 2)); echo "no library" > "$1"'


@pytest.mark.parametrize(
    "script",
    ["exit 1", "kill -9 $$", "true", f'case "$*" in *-shared*) {WRITE};; esac'],
    ids=["refuses", "ends", "makes nothing", "makes no library"],
)
def test_a_failing_compiler_gives_no_library(source, monkeypatch, tmp_path, script):
    replace_compiler(monkeypatch, tmp_path, script)
    assert load(source, ANSWER=42) is None


def test_a_compiler_that_takes_too_long_is_ended_with_all_that_it_started(
    source, monkeypatch, tmp_path
):
    started = tmp_path / "started"
    replace_compiler(monkeypatch, tmp_path, f"sleep 60 & echo $! > {started}; wait")
    monkeypatch.setattr(compiled, "TIMEOUT_S", 0.5)
    begin = time.monotonic()
    assert load(source, ANSWER=42) is None
    assert time.monotonic() - begin < 30
    state = Path(f"/proc/{started.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


# Damaged libraries; dlopen crashes when it reads mapped memory past the end of the file.
DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:4097],
    "zeros": lambda content: content[:4096] + bytes(len(content) - 4096),
    "other": lambda content: b"not a library",
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_compiled_anew(source, damage):
    code = (
        "import sys; from pathlib import Path; from numerics.native.compiled import library;"
        "print(library(Path(sys.argv[1]), ANSWER=42).answer())"
    )
    assert load(source, ANSWER=42).answer() == 42
    (path,) = kept(source)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    command = [sys.executable, "-c", code, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert path.read_bytes()[:4] != b"\x7fELF" and len(path.read_bytes()) == len(content)


@needs_compiler
def test_processes_and_threads_may_do_the_same_at_once(source):
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor; from pathlib import Path;"
        "from numerics.native.compiled import library; load = library.__wrapped__;"
        "pool = ThreadPoolExecutor(4); source = Path(sys.argv[1]);"
        "print([found.answer() for found in pool.map(lambda _: load(source, ANSWER=42), range(4))])"
    )
    command = [sys.executable, "-c", code, str(source)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == [f"{[42] * 4}\n"] * 3
    assert len(kept(source)) == 1
