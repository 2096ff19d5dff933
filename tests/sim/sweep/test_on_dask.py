"""Sweeps on a dask cluster: nothing lost or doubled when workers die; one line for what fails."""

import dataclasses
import os
import signal
import sys
import threading
import time
from functools import partial

import pytest
from _helpers.working import prepare

from sim.cli import main
from sim.errors import UserError
from sim.sweep.command import run_sweep
from sim.sweep.merge import FREE
from sim.sweep.on_dask import DaskCrew, parse_on
from sim.sweep.options import SweepOptions
from sim.workers import Watch

SWEEP = ["sweep", "--format", "int4", "--tokens", "256", "--context", "128"]


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of two processes whose modules are those of this one."""
    distributed = pytest.importorskip("distributed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_killed_dask_worker_loses_and_doubles_nothing(cluster, tmp_path):
    (tmp_path / "c").touch()
    names, steps = {key: f"point {key}" for key in "abcdef"}, []
    crew = DaskCrew(partial(prepare, tmp_path), cluster.scheduler_address, 2.5)
    results = list(crew.work(names, Watch(advance=steps.append)))
    assert sorted(key for key, _ in results) == list(names) and not (tmp_path / "c").exists()
    assert all(result[0] == key.upper() for key, result in results) and steps == [2.5] * 6
    assert os.getpid() not in {result[1] for _, result in results}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("bad", UserError, "^a bad point$"),
        ("defect", ZeroDivisionError, "^defect"),
        ("fatal", UserError, "^the dask workers that had F died, the last at tcp://"),
    ],
)
def test_a_point_that_cannot_be_measured_ends_the_work(cluster, tmp_path, key, kind, message):
    crew = DaskCrew(partial(prepare, tmp_path), cluster.scheduler_address, 1.0)
    with pytest.raises(kind, match=message):
        list(crew.work({key: key[0].upper()}, Watch()))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_sweep_on_dask_is_that_of_one_process(cluster, tiny_model, text_file, tmp_path):
    options = SweepOptions(
        model=str(tiny_model), text=text_file, tokens=64, context=32, json=True,
        formats=("int8:g64", "int4:g64", "fp4:g64"), out=tmp_path / "one",
    )  # fmt: skip
    one = run_sweep(options).results
    pids = [worker.process.pid for worker in cluster.workers.values()]
    killer = threading.Thread(target=_kill_at_work, args=(pids[0],))
    killer.start()
    on = f"dask:{cluster.scheduler_address}"
    two = run_sweep(dataclasses.replace(options, out=tmp_path / "two", on=on)).results
    killer.join()
    assert not os.path.exists(f"/proc/{pids[0]}")
    assert [point.recipe for point in two] == ["float32", "int8:g64", "int4:g64", "fp4:g64"]
    fields = {field.name for field in dataclasses.fields(one[0])} - FREE
    for a, b in zip(one, two, strict=True):
        assert all(getattr(a, name) == getattr(b, name) for name in fields)


def _kill_at_work(pid):
    """Kill a process when it has used a second of processor time, so that it is measuring."""

    def used_s():
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    first = used_s()
    while used_s() < first + 1.0:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "dask", "dask:", "ray://x:1", "tcp://10.0.0.5:8786"])
def test_what_is_no_cluster_is_refused(text):
    with pytest.raises(UserError, match=r"^--on .* is not of the form dask:ADDRESS; give dask:tcp"):
        parse_on(text)


def test_a_cluster_and_workers_exclude_each_other(capsys):
    assert _error(capsys, "--on", "dask:x:1", "--workers", "2").startswith(
        "qsim: --on dask:x:1 and --workers 2 exclude each other; "
    )


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"^distributed is not installed; .*qsim-codesign\[dask\]"):
        list(DaskCrew(prepare, "tcp://127.0.0.1:1", 1.0).work({"a": "A"}, Watch()))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "nowhere", "what://x"])
def test_without_a_scheduler_one_line_says_what_to_start(monkeypatch, address):
    pytest.importorskip("distributed")
    monkeypatch.setattr("sim.sweep.on_dask.SCHEDULER_S", 1)
    with pytest.raises(UserError, match=r"^no dask scheduler answers at .*start 'dask scheduler'"):
        list(DaskCrew(prepare, address, 1.0).work({"a": "A"}, Watch()))


def _error(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        main([*SWEEP, *arguments])
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.count("\n") == 1
    return error
