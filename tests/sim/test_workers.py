"""Workers: nothing lost or doubled, dead ones replaced, cores shared, none outlives the parent."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from _helpers.working import prepare

from sim.errors import UserError
from sim.workers import Watch, each, in_order, work

#: A parent that prints finished keys; its workers leave files in its argument. Ctrl-C has Python's
#: own handler, also where the tests run in the background and so ignore it.
PARENT = """
import contextlib, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from functools import partial
from sim.workers import work
from _helpers.working import prepare_sleep
found = work(partial(prepare_sleep, pathlib.Path(sys.argv[1])), {k: k for k in "abc"}, 2)
try:
    with contextlib.closing(found):
        for key, _ in found:
            print(key, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path):
    (tmp_path / "c").touch()
    names, steps, begun = {key: f"point {key}" for key in "abcdef"}, [], []
    before = os.sched_getaffinity(0)
    watch = Watch(begin=begun.append, advance=steps.append)
    results = list(work(partial(prepare, tmp_path), names, 2, watch))
    assert sorted(key for key, _ in results) == list(names)
    assert all(result[0] == key.upper() for key, result in results)
    assert sum(steps) == 2.5 * 6 and min(steps) == -1.0
    assert begun[:2] == [["point a"], ["point a", "point b"]] and len(begun) == 7
    assert os.getpid() not in {result[1] for _, result in results}
    cores = {tuple(result[2]) for _, result in results}
    assert all(len(share) == max(1, len(before) // 2) for share in cores) or len(before) % 2
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("bad", UserError, "^a bad point"),
        ("defect", ZeroDivisionError, "^defect"),
        ("fatal", UserError, r"^3 processes that worked on F died \(exit code -9"),
    ],
)
def test_a_point_that_cannot_be_measured_ends_the_work(tmp_path, key, kind, message):
    with pytest.raises(kind, match=message):
        list(work(partial(prepare, tmp_path), {key: key[0].upper()}, 4))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_names(tmp_path, workers):
    names, begun = list("cabd"), []
    found = list(in_order(each(partial(prepare, tmp_path), names, workers, begun.append), names))
    assert [result[0] for result in found] == list("CABD")
    assert (os.getpid() in {result[1] for result in found}) == (workers == 1)
    assert begun[0] == ["c"] and len(begun) == 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_an_interrupted_or_killed_parent(tmp_path, how):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:  # fmt: skip
        assert parent.stdout.readline() == "a\n"
        # Both workers are at a key that they sleep at.
        _until(lambda: len(list(tmp_path.glob("*[0-9]"))) == 2)
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)  # as a terminal does
        else:
            parent.kill()
        output, errors = parent.communicate(timeout=20)
    assert (output, errors) == ("interrupted\n" if how == signal.SIGINT else "", "")
    pids = [int(path.name) for path in tmp_path.glob("*[0-9]")]
    _until(lambda: not any(_is_alive(pid) for pid in pids))
    assert all((tmp_path / f"{pid}-cleaned").exists() for pid in pids)


def _until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
