"""Where a pass over a model stopped: the states between two blocks, kept on disk.

A pass that is killed goes on at the last block that was kept. Keeping costs time, so that it is
done only when the work since the last time is worth it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from sim.calibration.stream import Stream

#: Least time between two saves in s, and the least multiple of the time that a save takes.
LEAST_S, LEAST_RATIO = 10.0, 20.0
PROGRESS, LOCK = "progress.json", "lock"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a checkpoint holds."""

    #: Number of blocks that are done.
    blocks: int
    #: Hidden states by name of the stream.
    states: dict[str, np.ndarray]
    #: Whatever else the pass needs, as JSON values.
    more: dict[str, Any]


def restore(saved: Saved | None, streams: Mapping[str, Stream]) -> Saved | None:
    """Continue streams where a pass stopped; return what else it kept, ``None`` to start anew."""
    if saved is None or saved.states.keys() != streams.keys():
        return None
    for name, stream in streams.items():
        stream.restore(saved.states[name], saved.blocks)
    return saved


@dataclass(slots=True)
class Checkpoint:
    """A directory with the states of one pass; ``key`` says which pass they belong to.

    A context manager. A second process that runs the same pass neither reads nor writes it.
    """

    directory: Path
    key: str
    #: What an earlier process left, ``None`` if nothing fits.
    saved: Saved | None = None
    _last: float = field(default_factory=time.monotonic)
    _cost: float = 0.0
    _lock: TextIO | None = None

    def __enter__(self) -> "Checkpoint":
        """Lock the directory and read what it holds."""
        self.saved = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Delete the directory after a finished pass; else keep what it holds."""
        if self._lock is None:
            return
        kept = (self.directory / PROGRESS, *self.directory.glob("*.npz"))
        is_empty = not any(path.exists() for path in kept)
        if kind is None or is_empty:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def once(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Return arrays that an earlier process of this pass kept; else make them and keep them.

        For results that may differ in the last bits when they are computed again.
        """
        if not self.is_locked:
            return make()
        path = self.directory / f"{name}-{hashlib.sha256(self.key.encode()).hexdigest()[:16]}.npz"
        try:
            with np.load(path) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            made: dict[str, Any] = dict(make())
        temporary = path.with_suffix(".new.npz")
        np.savez(temporary, **made)
        os.replace(temporary, path)
        return made

    def _open(self) -> Saved | None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            return None
        try:
            found = json.loads((self.directory / PROGRESS).read_text())
            if found["key"] == self.key:
                files = found["states"]
                states = {name: np.load(self.directory / file) for name, file in files.items()}
                return Saved(blocks=found["blocks"], states=states, more=found["more"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            pass
        # This pass writes over the files of the other one, which could not go on with them.
        (self.directory / PROGRESS).unlink(missing_ok=True)
        return None

    @property
    def is_locked(self) -> bool:
        """Whether this process has the directory."""
        return self._lock is not None

    @property
    def is_due(self) -> bool:
        """Whether enough was done since the last save that another one is worth its time."""
        elapsed = time.monotonic() - self._last
        return self._lock is not None and elapsed >= max(LEAST_S, LEAST_RATIO * self._cost)

    def save(
        self, blocks: int, states: Mapping[str, np.ndarray], more: Mapping[str, object]
    ) -> None:
        """Keep the states after ``blocks`` blocks in place of earlier ones."""
        started = time.monotonic()
        files = {name: f"{name}-{blocks}.npy" for name in states}
        for name, array in states.items():
            np.save(self.directory / files[name], array, allow_pickle=False)
        text = json.dumps({"key": self.key, "blocks": blocks, "states": files, "more": dict(more)})
        temporary = self.directory / f"{PROGRESS}.new"
        temporary.write_text(text)
        os.replace(temporary, self.directory / PROGRESS)
        for path in self.directory.glob("*.npy"):
            if path.name not in files.values():
                path.unlink()
        self._last = time.monotonic()
        self._cost = self._last - started
