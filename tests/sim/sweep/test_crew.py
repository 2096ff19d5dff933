"""Sweeps that several processes measure."""

import dataclasses

import pytest

from sim.sweep.command import run_sweep
from sim.sweep.merge import FREE
from sim.sweep.options import SweepOptions


@pytest.mark.slow
def test_workers_measure_what_one_process_measures(tiny_model, text_file, tmp_path):
    options = SweepOptions(
        model=str(tiny_model), text=text_file, tokens=64, context=32, json=True,
        formats=("int8:g64", "int4:g64"), out=tmp_path / "one",
    )  # fmt: skip
    one = run_sweep(options).results
    two = run_sweep(dataclasses.replace(options, out=tmp_path / "two", workers=2)).results
    assert [point.recipe for point in two] == ["float32", "int8:g64", "int4:g64"]
    fields = {field.name for field in dataclasses.fields(one[0])} - FREE
    for a, b in zip(one, two, strict=True):
        assert all(getattr(a, name) == getattr(b, name) for name in fields)
