"""Libraries are made once, and where none can be had there is none."""

import shutil

import pytest

from numerics import compiled
from numerics.compiled import COMPILERS, library

# A library that is loaded stays loaded; each test wants a look at the files.
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


def kept(source):
    return sorted(path.name for path in (source.parent / "cache" / "compiled").iterdir())


@needs_compiler
def test_a_library_is_compiled_once_for_each_source_and_macros(source, monkeypatch):
    assert load(source, ANSWER=42).answer() == 42
    assert len(kept(source)) == 1
    assert load(source, ANSWER=7).answer() == 7
    assert len(kept(source)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_compile", None)
        assert load(source, ANSWER=42).answer() == 42
    source.write_text(TEXT.replace("return", "return 1 +"), encoding="utf-8")
    assert load(source, ANSWER=42).answer() == 43
    assert len(kept(source)) == 3


def test_without_a_compiler_there_is_no_library(source, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert load(source, ANSWER=42) is None


@needs_compiler
def test_without_a_place_to_keep_it_there_is_no_library(source, monkeypatch):
    monkeypatch.setenv("QSIM_CACHE", str(source))
    assert load(source, ANSWER=42) is None


@needs_compiler
def test_of_a_source_that_is_wrong_there_is_no_library(source):
    source.write_text("int answer() {", encoding="utf-8")
    assert load(source, ANSWER=42) is None
    assert kept(source) == []


@needs_compiler
def test_of_a_file_that_is_no_library_there_is_none(source, monkeypatch, tmp_path):
    assert load(source, ANSWER=42) is not None
    (name,) = kept(source)
    other = tmp_path / "other" / "compiled" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"not a library")
    monkeypatch.setenv("QSIM_CACHE", str(tmp_path / "other"))
    assert load(source, ANSWER=42) is None
