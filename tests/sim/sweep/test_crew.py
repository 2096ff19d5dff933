"""Sweeps that several processes measure."""

import dataclasses
import os
import subprocess
import sys

import pytest

from sim.sweep.command import run_sweep
from sim.sweep.merge import FREE
from sim.sweep.options import SweepOptions
from sim.sweep.result import PointResult

#: ``qsim`` on as many cores as each of two workers has.
ON_HALF = """
import os, sys
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, cores[0::2])
from sim.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) % 2, reason="workers have unequal shares of cores")
def test_workers_measure_what_one_process_on_as_many_cores_does(tiny_model, text_file, tmp_path):
    arguments = ["--model", tiny_model, "--text", text_file, "--tokens", 64, "--context", 32]
    arguments += ["--format", "int8:g64", "int4:g64", "--out", tmp_path / "one", "--json"]
    printed = subprocess.run(
        [sys.executable, "-c", ON_HALF, "sweep", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    one = [PointResult.from_json(line) for line in printed.splitlines()]
    options = SweepOptions(
        model=str(tiny_model), text=text_file, tokens=64, context=32, json=True,
        formats=("int8:g64", "int4:g64"), out=tmp_path / "two", workers=2,
    )  # fmt: skip
    two = run_sweep(options).results
    assert [point.recipe for point in two] == ["float32", "int8:g64", "int4:g64"]
    fields = {field.name for field in dataclasses.fields(PointResult)} - FREE
    for a, b in zip(one, two, strict=True):
        assert all(getattr(a, name) == getattr(b, name) for name in fields)
