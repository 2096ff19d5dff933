"""Statistics of all blocks of a model, kept on disk for every format that is calibrated on them."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.calibration.statistics import Statistics
from sim.errors import UserError

LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStatistics:
    """A directory with a file of statistics for each block."""

    directory: Path

    def holds(self, index: int) -> bool:
        """Whether the statistics of a block are there."""
        return self._path(index).exists()

    def put(self, index: int, statistics: Mapping[str, Statistics]) -> None:
        """Keep the statistics of a block by site; Hessians as float32."""
        arrays: dict[str, np.ndarray] = {}
        for site, found in statistics.items():
            arrays |= {
                f"{site}.hessian": found.hessian.astype(np.float32),
                f"{site}.amax": found.amax,
                f"{site}.magnitude": found.magnitude,
                f"{site}.tokens": np.asarray(found.tokens),
                f"{site}.sample": found.sample,
                f"{site}.sample_weights": found.sample_weights,
            }
        size, free = sum(a.nbytes for a in arrays.values()), shutil.disk_usage(self.directory).free
        if size > free:
            raise UserError(
                f"statistics of block {index} need {size / 1e9:,.2f} GB in {self.directory}, which "
                f"has {free / 1e9:,.2f} GB free; give another --statistics, or leave it out"
            )
        temporary = self.directory / f".{os.getpid()}.npz"
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, self._path(index))

    def get(self, index: int) -> dict[str, Statistics]:
        """Return the statistics of a block by site."""
        with np.load(self._path(index)) as stored:
            sites = dict.fromkeys(name.rpartition(".")[0] for name in stored)
            return {
                site: Statistics(
                    hessian=stored[f"{site}.hessian"].astype(np.float64),
                    amax=stored[f"{site}.amax"],
                    magnitude=stored[f"{site}.magnitude"],
                    tokens=int(stored[f"{site}.tokens"]),
                    sample=stored[f"{site}.sample"],
                    sample_weights=stored[f"{site}.sample_weights"],
                )
                for site in sites
            }

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory, and wait until no other process writes it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, index: int) -> Path:
        return self.directory / f"block-{index:04}.npz"
