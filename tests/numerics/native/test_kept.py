"""The build cache: the right file for the same inputs, and its size limit."""

import os
from pathlib import Path

import pytest

from numerics.native import kept
from numerics.native.kept import build_once


@pytest.fixture
def builder(tmp_path):
    """A function that builds a file from inputs; returns its text and whether it was built."""

    def build(*parts, text="built"):
        target, done = tmp_path / "target", []

        def write():
            done.append(parts)
            target.write_text(text)

        target.unlink(missing_ok=True)
        build_once(target, parts, write, memory=tmp_path / "memory")
        return target.read_text(), bool(done)

    return build


def test_the_same_parts_are_built_once_and_others_anew(builder):
    assert builder("source", "command") == ("built", True)
    assert builder("source", "command") == ("built", False)
    assert builder("source", "other", text="of another") == ("of another", True)
    assert builder("source", "command") == ("built", False)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"?"])
def test_a_damaged_file_is_built_anew(builder, tmp_path, damage):
    builder("source")
    (known,) = (tmp_path / "memory").iterdir()
    known.write_bytes(damage(known.read_bytes()))
    assert builder("source", text="again") == ("again", True)
    assert builder("source") == ("again", False)


def test_files_that_were_used_longest_ago_make_room(builder, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "LIMIT_BYTES", 3 * (32 + 100))
    for name in "abc":
        builder(name, text="x" * 100)
    for age, path in enumerate((tmp_path / "memory").iterdir()):
        os.utime(path, (age, age))
    assert not builder("a", text="x" * 100)[1]
    builder("d", text="x" * 100)
    assert len(list((tmp_path / "memory").iterdir())) == 3
    assert not builder("a", text="x" * 100)[1] and not builder("d", text="x" * 100)[1]


def test_a_kept_file_that_is_a_folder_is_passed_over(builder, tmp_path):
    builder("source")
    (known,) = (tmp_path / "memory").iterdir()
    known.unlink()
    known.mkdir()
    assert [builder("source"), builder("source")] == [("built", True)] * 2
    assert list((tmp_path / "memory").iterdir()) == [known]


def test_a_full_disk_leaves_no_part(builder, tmp_path, monkeypatch):
    write = Path.write_bytes

    def fill(path, content):
        write(path, content[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert builder("source") == ("built", True)
    assert list((tmp_path / "memory").iterdir()) == []


def test_without_a_memory_all_is_built(tmp_path):
    done = []
    for _ in range(2):
        build_once(tmp_path / "target", [], lambda: done.append(1), memory=None)
    assert len(done) == 2


ME = os.getuid()


@pytest.mark.parametrize(
    ("owner", "mode", "is_taken"),
    [(ME, 0o644, True), (0, 0o444, True), (ME + 1, 0o644, False), (ME, 0o666, False)],
)
def test_a_file_that_another_user_may_have_written_is_built_anew(
    builder, monkeypatch, owner, mode, is_taken
):
    builder("source")
    stat = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda file: stat)
    assert builder("source", text="again")[1] == (not is_taken)


def test_what_can_not_be_kept_is_built_each_time(tmp_path):
    done, target = [], tmp_path / "target"
    (tmp_path / "file").touch()

    def build():
        done.append(1)
        target.touch()

    for _ in range(2):
        build_once(target, ["source"], build, memory=tmp_path / "file" / "memory")
    assert len(done) == 2
