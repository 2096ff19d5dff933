"""``--run-missing``: the points that could change the front, measured on the table's sample."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

import sim.codesign.run_missing
from sim.cli import main
from sim.codesign.accuracy import built_in, find_accuracy
from sim.codesign.accuracy_file import FLOAT, ROUND_TO_NEAREST
from sim.codesign.command import grid_of, run_codesign
from sim.codesign.missing import Missing, missing
from sim.codesign.needed import MARGIN, Machines, least_kl, needed
from sim.codesign.options import CodesignOptions, RunOptions
from sim.codesign.pairs import elements, join
from sim.codesign.sample import sample_of
from sim.codesign.search import Limits, evaluated
from sim.deployment.model_names import find_shape
from sim.errors import UserError
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions
from sim.sweep.result import PointResult

GRID = CodesignOptions(rows=(4, 16), bandwidth=(3.2,), clock=(100.0, 200.0))
POINT = PointResult(
    model="embedded", recipe="", text="t", tokens=4096, context=256, sampling="s", scored=4080,
    vocab_size=100, kl_mean=0.5, kl_mean_se=0.01, bits_per_weight=4.0, delta_nats=0.1,
    delta_nats_se=0.01, perplexity=9.0, top1_agreement=0.9, kl_p99=1.0, sqnr_db={},
    weight_bytes=1, model_bytes=1, definition="d", tokens_per_s=1.0, wall_s=30.0,
    window_kl=(0.5,), window_delta_nats=(0.1,),
)  # fmt: skip


@pytest.mark.parametrize("model", built_in())
def test_no_measured_row_is_nearer_to_float32_than_its_least_divergence(model):
    rows = [r for r in find_accuracy(model).rows if (r.head, r.method) == (FLOAT, ROUND_TO_NEAREST)]
    for row in rows:
        activations = None if row.activations == FLOAT else row.activations
        point = Missing(
            weights=row.weights, activations=activations, pe=row.pe, elements=(), kv=row.kv
        )
        others = [other for other in rows if other is not row]
        assert row.kl_nats >= least_kl(point, others) >= 0
    finest = [r for r in rows if r.weights == "int8-asym" and r.activations == FLOAT]
    worse = Missing(weights="int8-asym", activations="int8", pe="", elements=())
    error = finest[0].loss_se if finest[0].kl_se is None else finest[0].kl_se
    assert least_kl(worse, finest[:1]) == max(0.0, finest[0].kl_nats - MARGIN * error)


@pytest.mark.parametrize("limits", [Limits(), Limits(tokens_per_s=250.0), Limits(kl_nats=0.02)])
def test_needed_points_are_those_with_a_design_that_nothing_measured_dominates(limits):
    shape, rows = find_shape("embedded"), find_accuracy("embedded").rows
    records = elements(("int4x8-mac", "bitmod-int8-aligned", "fp16-mac"))
    machines = Machines(shape=shape, grid=grid_of(GRID), context=512)
    rows = [row for row in rows if row.kv == FLOAT]
    points = missing(rows, records, FLOAT)
    base = machines.space(join(rows, records))
    found = needed(points, rows, base, machines, limits)
    measured = _all(base, limits)
    by_name = {(one.point.weights, one.point.activations, one.point.pe): one for one in found}
    for point in points:
        least = least_kl(point, rows)
        row = replace(
            rows[0], weights=point.weights, activations=point.activations or FLOAT, pe=point.pe,
            kl_nats=least,
        )  # fmt: skip
        own = _all(machines.space(join([row], elements(point.elements))), limits)
        free = [one for one in own if not (measured <= one).all(axis=1).any()]
        is_needed = (point.weights, point.activations, point.pe) in by_name
        assert is_needed == bool(free), point
    assert 0 < len(found) < len(points)
    assert [one.designs for one in found] == sorted((o.designs for o in found), reverse=True)


def _all(space, limits):
    """Return divergence, area, energy and time of all valid designs within limits."""
    kept = []
    for numbers, points, valid in evaluated(space):
        kl = space.pairs[int(numbers[0]) // space.grid.size].accuracy.kl_nats
        points[:, 0] = kl
        ok = valid & (points[:, 3] <= 1 / (limits.tokens_per_s or 1e-9))
        kept.append(points[ok & (kl <= (limits.kl_nats or np.inf))])
    return np.concatenate(kept)


class FakeCrew:
    """Gives a fixed result for every point."""

    calls: ClassVar[list] = []

    def __init__(self, prepare, workers):
        pass

    def references(self, points):
        return 0

    def work(self, names, watch):
        self.calls.append(list(names.values()))
        for key, name in names.items():
            yield key, replace(POINT, recipe=name)


def test_measured_points_join_the_front_and_are_measured_once(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sim.codesign.run_missing, "LocalCrew", FakeCrew)
    monkeypatch.setattr(FakeCrew, "calls", [])
    options = replace(GRID, formats=("int4", "int4-2-of-4", "int8-vs"), elements=("int4x8-mac",))
    running = RunOptions(run_missing=True, workers=2, points=tmp_path / "points")
    found = [run_codesign("embedded", options, running) for _ in range(2)]
    # int8-vs is not a format that the PE reads.
    assert FakeCrew.calls == [["float32", "w=int4-2-of-4,a=int8"], []]
    for one in found:
        pairs = {(d.pair.weights, d.pair.accuracy.kl_nats) for d in one.designs}
        assert ("int4-2-of-4", 0.5) in pairs and len(pairs) == 2
        assert "int4-2-of-4" not in {point.weights for point in one.missing}
    first, second = (line for line in capsys.readouterr().err.splitlines() if "change" in line)
    assert "1 accuracy point could change the front; measuring 1 into" in first
    assert first.endswith(": w=int4-2-of-4,a=int8") and second.endswith("points already")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "a book"}, "does not give the hashes"),
        ({"model_sha256": "0" * 64}, "^embedded has other weights .* begins with 000000000000; "),
        ({"text": "a book, SHA-256 " + "0" * 64}, "^built-in held-out text is not the text .*book"),
        (
            {"sample": "512 tokens; 2 non-overlapping windows of 256 tokens, oddly"},
            "cannot be made",
        ),
    ],
)
def test_a_sample_that_cannot_be_opened_again_is_refused(change, message):
    about = dict(find_accuracy("embedded").about)
    with pytest.raises(UserError, match=message):
        sample_of(about | change, "embedded", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers 2 is for --run-missing; add it"),
        (["--run-missing", "--workers", "0"], "Must be > 0"),
        (["--run-missing", "--points", __file__], "is a file; name a directory"),
    ],
)
def test_bad_options_of_measurement_are_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        main(["codesign", "embedded", *arguments])
    error = capsys.readouterr().err
    assert exit.value.code == 2 and message in error and error.count("\n") == 1


@pytest.mark.slow
def test_points_are_measured_on_the_sample_of_a_store(tiny_model, text_file, tmp_path):
    swept = SweepOptions(
        model=str(tiny_model), text=text_file, tokens=64, context=32, json=True,
        formats=("mxfp4", "mxfp4-rceil"), activations="mxfp4", out=tmp_path / "all",
    )  # fmt: skip
    # Two workers too: other numbers of cores change the last digits.
    alike = replace(swept, workers=2)
    expected = {point.recipe: point.kl_mean for point in run_sweep(alike).results}
    run_sweep(replace(swept, formats=("mxfp4",), out=tmp_path / "some"))
    options = replace(
        GRID, formats=("mxfp4", "mxfp4-rceil"), elements=("mxfp4-dot",), context=64,
        accuracy=(str(tmp_path / "some"),),
    )  # fmt: skip
    running = RunOptions(run_missing=True, text=text_file, points=tmp_path, workers=2)
    found = run_codesign(str(tiny_model), options, running)
    (row,) = [row for row in found.table.rows if row.weights == "mxfp4-rceil"]
    assert row.activations == "mxfp4"
    assert row.kl_nats == expected["w=mxfp4-rceil,a=mxfp4"]
