"""Work on keys by several processes of this machine; the parent alone receives and keeps results.

A worker that dies is replaced and its key tried again. Workers end when the parent does, even if
it is killed. Each worker runs on its share of the cores, which XLA and BLAS take as their number
of threads (Linux; elsewhere each takes all cores).
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, Protocol

from sim.errors import UserError

#: Attempts at a key whose workers die.
ATTEMPTS = 3
#: Seconds that a terminated worker has to end its programs and remove its files.
PATIENCE_S = 3.0

#: Each key with its result, in the order in which they finish.
Results = Generator[tuple[str, Any], None, None]


class Prepare(Protocol):
    """Makes the function of a worker; both run there. Pickled by its name."""

    def __call__(self, advance: Callable[[float], None], /) -> Callable[[str], Any]:
        """Return a function from a key to its result; ``advance`` reports progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Callbacks in the parent."""

    #: Called with the names of all keys in work when a worker takes one.
    begin: Callable[[Sequence[str]], None] = lambda names: None
    #: Called with progress; with a negative number for what a dead worker had done of its key.
    advance: Callable[[float], None] = lambda amount: None


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    cores: set[int] | None
    #: Key in work; ``None`` between keys.
    key: str | None = None
    #: Progress since the last finished key.
    advanced: float = 0.0

    def give(self, key: str) -> None:
        """Send a key; a worker that has died is noticed when it is next heard."""
        self.key = key
        with contextlib.suppress(OSError):
            self.connection.send(key)


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any


def work(
    prepare: Prepare, names: Mapping[str, str], workers: int, watch: Watch | None = None
) -> Results:
    """Yield the result of each key of ``names``; values are what to call the keys in messages.

    Close the generator to end the workers. Raises the exception of a worker, and UserError for a
    key whose workers died :data:`ATTEMPTS` times.
    """
    crew = _Crew(prepare, names, watch or Watch(), deque(_shares(min(workers, len(names)))))
    try:
        while crew.assign():
            for worker in crew.heard():
                yield from crew.answer(worker)
    finally:
        _end([worker.process for worker in crew.workers])


def each(
    prepare: Prepare, names: Sequence[str], workers: int, begin: Callable[[Sequence[str]], None]
) -> Results:
    """Yield the result of each of ``names`` as they finish; one worker is this process itself.

    ``begin`` is called with the names in work when work on one begins.
    """
    if min(workers, len(names)) > 1:
        yield from work(prepare, {name: name for name in names}, workers, Watch(begin=begin))
        return
    function = prepare(lambda amount: None)
    for name in names:
        begin([name])
        yield name, function(name)


def in_order(results: Results, names: Sequence[str]) -> Iterator[Any]:
    """Yield results in the order of their names, each as soon as those before it are there."""
    found: dict[str, Any] = {}
    with contextlib.closing(results):
        for name in names:
            while name not in found:
                key, found[key] = next(results)
            yield found.pop(name)


class _Crew:
    """The workers, and the keys that wait for one."""

    def __init__(
        self,
        prepare: Prepare,
        names: Mapping[str, str],
        watch: Watch,
        free: deque[set[int] | None],
    ) -> None:
        self.workers: list[_Worker] = []
        self._prepare, self._names, self._watch = prepare, names, watch
        #: Cores of workers that may be started.
        self._free = free
        self._waiting, self._deaths = deque(names), Counter[str]()

    def assign(self) -> bool:
        """Give keys to idle workers, then to new ones; return whether any worker has a key."""
        idle = [worker for worker in self.workers if worker.key is None]
        while self._waiting and (idle or self._free):
            self._give(idle.pop() if idle else self._start())
        return any(worker.key is not None for worker in self.workers)

    def heard(self) -> list[_Worker]:
        """Wait for messages of workers with a key, or for their death; return these workers."""
        busy: dict[Any, _Worker] = {w.connection: w for w in self.workers if w.key is not None}
        return [busy[connection] for connection in wait(busy)]

    def answer(self, worker: _Worker) -> Iterator[tuple[str, Any]]:
        """Act on a worker's message; yield its key with the result, if that is the message."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        match message:
            case Exception():
                raise message
            case _Done():
                key, worker.key, worker.advanced = worker.key, None, 0.0
                assert key is not None
                if self._waiting:
                    self._give(worker)
                yield key, message.result
            case float():
                worker.advanced += message
                self._watch.advance(message)

    def _give(self, worker: _Worker) -> None:
        worker.give(self._waiting.popleft())
        keys = [one.key for one in self.workers if one.key is not None]
        self._watch.begin([self._names[key] for key in keys])

    def _start(self) -> _Worker:
        worker = _start(self._prepare, self._free.popleft())
        self.workers.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> None:
        """Put the key of a dead worker back, and free its cores."""
        worker.process.join()
        self.workers.remove(worker)
        self._free.append(worker.cores)
        self._watch.advance(-worker.advanced)
        key = worker.key
        assert key is not None
        self._deaths[key] += 1
        if self._deaths[key] == ATTEMPTS:
            raise UserError(
                f"{ATTEMPTS} processes that worked on {self._names[key]} died (exit code"
                f" {worker.process.exitcode}; -9 is often lack of memory); give fewer --workers"
            )
        self._waiting.appendleft(key)


def _shares(workers: int) -> list[set[int] | None]:
    """Return the cores of each worker; ``None`` where the system cannot choose them."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * workers
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[i::workers]) or {cores[i % len(cores)]} for i in range(workers)]


def _start(prepare: Prepare, cores: set[int] | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, prepare), daemon=True)
    with _on(cores), _interrupts_held():
        process.start()
    theirs.close()
    return _Worker(process, ours, cores)


@contextlib.contextmanager
def _on(cores: set[int] | None) -> Iterator[None]:
    """Restrict this thread to some cores; a process inherits those of the thread that starts it.

    Set before the worker's first import, since BLAS counts its cores when it is loaded.
    """
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C for a while; processes started meanwhile ignore it for good.

    Ctrl-C reaches the whole group of processes; the parent ends its workers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Sequence[BaseProcess]) -> None:
    """Terminate processes, and kill those that have not ended after :data:`PATIENCE_S`."""
    for process in processes:
        process.terminate()
    last = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(0.0, last - time.monotonic()))
        process.kill()
        process.join()


def _serve(connection: Connection, prepare: Prepare) -> None:
    """Run a worker: keys come in, progress, results and the first exception go out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _unwind)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function = prepare(lambda amount: connection.send(float(amount)))
        while True:
            connection.send(_Done(function(connection.recv())))
    except Exception as error:
        error.add_note(traceback.format_exc())
        with contextlib.suppress(OSError):  # the parent has ended
            connection.send(error)


def _unwind(*_: object) -> NoReturn:
    """End this process in such a way that it cleans up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    main = threading.main_thread().ident
    assert main is not None
    # To the main thread, since a handler runs there and must wake it.
    signal.pthread_kill(main, signal.SIGTERM)
    time.sleep(PATIENCE_S)
    os._exit(1)
