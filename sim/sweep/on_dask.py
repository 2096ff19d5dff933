"""Points of a sweep measured by the workers of a dask cluster; this process alone stores them.

A point whose worker dies is measured again by another one. Every process of the cluster opens the
model and measures its float32 reference once, and measures one point at a time.
"""

import contextlib
import functools
import logging
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import UserError
from sim.workers import Prepare, Results, Watch

SCHEME = "dask:"
EXAMPLE = "dask:tcp://10.0.0.5:8786"
#: Seconds to wait for an answer of the scheduler, and then for a first worker.
SCHEDULER_S, WORKER_S = 15, 120
#: Start of the names of tasks in the cluster.
PREFIX = "qsim-"
#: One point at a time in a process, whose reference is in one file.
_one_at_a_time = threading.Lock()


def parse_on(text: str) -> str:
    """Return the scheduler's address that ``--on`` names.

    >>> parse_on("dask:tcp://10.0.0.5:8786")
    'tcp://10.0.0.5:8786'
    """
    address = text.removeprefix(SCHEME)
    if not text.startswith(SCHEME) or not address:
        raise UserError(f"--on {text!r} is not of the form dask:ADDRESS; give {EXAMPLE}")
    return address


@dataclass(frozen=True, slots=True)
class DaskCrew:
    """The workers of the cluster whose scheduler has an address."""

    prepare: Prepare
    address: str
    #: Progress that a finished point counts; the cluster reports none of unfinished ones.
    progress: float

    def references(self, points: int) -> int:
        """Return 0: no passes of the float model are reported."""
        return 0

    def work(self, names: Mapping[str, str], watch: Watch) -> Results:
        """Yield the points of keys as they finish.

        Raises UserError without a scheduler or workers, as a worker does, and for a point whose
        workers died too often.
        """
        if not names:
            return
        with self._client() as client:
            from distributed import as_completed

            task = pickle.dumps(self.prepare)
            futures = {client.submit(measure, task, k, key=PREFIX + k): k for k in names}
            try:
                for future in as_completed(list(futures), loop=client.loop):
                    key = futures.pop(future)
                    with self._one_line(names[key]):
                        result = future.result()
                    watch.advance(self.progress)
                    if working := _in_work(client, names):
                        watch.begin(working)
                    yield key, result
            finally:
                client.cancel(list(futures))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        """Connect to the cluster, once it has a worker."""
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise UserError(
                "distributed is not installed; install the extra: pip install 'qsim-codesign[dask]'"
            ) from None
        # Its tracebacks would stand before the one line of an error.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            client = Client(self.address, timeout=SCHEDULER_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no dask scheduler answers at {self.address} ({error}); start 'dask scheduler' and"
                f" give the address that it prints, such as --on {EXAMPLE}"
            ) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=WORKER_S)
            except TimeoutError:
                raise UserError(
                    f"the dask scheduler at {self.address} has had no worker for {WORKER_S} s;"
                    f" start 'dask worker {self.address} --nthreads 1'"
                ) from None
            yield client

    @contextlib.contextmanager
    def _one_line(self, name: str) -> Iterator[None]:
        """Raise errors of the cluster as UserError; those of the measurement stay as they are."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            yield
        except KilledWorker as error:
            raise UserError(
                f"the dask workers that had {name} died, the last at"
                f" {error.last_worker.address}; lack of memory is a common cause"
            ) from None
        except CancelledError:
            raise UserError(
                f"the dask scheduler at {self.address} was lost; run the same command to go on"
            ) from None
        except ModuleNotFoundError as error:
            raise UserError(
                f"a dask worker cannot import {error.name}; install the same version of"
                " qsim-codesign for the workers"
            ) from None


def measure(task: bytes, key: str) -> Any:
    """Return the point of a key; runs in a process of the cluster."""
    with _one_at_a_time:
        return _measurer(task)(key)


@functools.lru_cache(maxsize=1)
def _measurer(task: bytes) -> Callable[[str], Any]:
    prepare: Prepare = pickle.loads(task)
    return prepare(lambda amount: None)


def local_directory() -> Path:
    """Return the directory of temporary files of the dask worker that this process is."""
    from distributed import get_worker

    return Path(get_worker().local_directory)


def _in_work(client: Any, names: Mapping[str, str]) -> list[str]:
    """Return the names of the points that workers have."""
    keys = [str(key).removeprefix(PREFIX) for some in client.processing().values() for key in some]
    return [names[key] for key in keys if key in names]
