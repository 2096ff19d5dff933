import dataclasses
import errno
import json
import math
import re
import shutil

import numpy as np
import pytest
from _helpers.observers import Quiet

import numerics
from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sources.text import read_text
from sim.sweep import evaluate
from sim.sweep.command import _run as run_measured
from sim.sweep.engine import Sweep
from sim.sweep.recipe import EXACT
from sim.sweep.recipe_file import make_recipe
from sim.sweep.result import PointResult
from sim.sweep.windows import take_windows


class Log(Quiet):
    """An observer that records its calls."""

    def __init__(self):
        self.started = None
        self.measured = []
        self.tokens_done = 0
        self.finished = []

    def start(self, points, tokens):
        self.started = (points, tokens)

    def point(self, *recipes):
        self.measured += recipes

    def tokens(self, count):
        self.tokens_done += count

    def finish(self, result, *, reused):
        self.finished.append((result.recipe, reused))


@pytest.fixture(scope="module")
def finished(tiny_model, text_file, tmp_path_factory):
    """A finished sweep, the calls of its observer, and its points."""
    source, text = open_model(str(tiny_model)), read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=128, context=32, spread=False)
    recipes = tuple(make_recipe(name) for name in ("int8:g64", "int4:g64", "ternary:g64"))
    place = tmp_path_factory.mktemp("finished")
    sweep = Sweep(source=source, text=text, windows=windows, recipes=recipes, directory=place)
    log = Log()
    return sweep, log, sweep.run(log)


@pytest.fixture
def sweep(finished, tmp_path):
    """A sweep with an empty store."""
    return dataclasses.replace(finished[0], directory=tmp_path)


@pytest.fixture
def measured(finished, tmp_path):
    """A sweep with a separate store that holds all points."""
    shutil.copytree(finished[0].directory, tmp_path, dirs_exist_ok=True)
    return dataclasses.replace(finished[0], directory=tmp_path)


def test_fewer_bits_lose_more(finished):
    _, log, points = finished
    assert [p.recipe for p in points] == ["float32", "int8:g64", "int4:g64", "ternary:g64"]
    kl = [p.kl_mean for p in points]
    assert kl[0] == 0 < kl[1] < kl[2] / 10 < kl[3] / 10
    agreement = [p.top1_agreement for p in points]
    assert agreement[0] == 1 and sorted(agreement, reverse=True) == agreement
    assert [p.bits_per_weight for p in points] == pytest.approx([32, 8.29, 4.29, 2.29], abs=0.05)
    assert log.started == (4, 4 * 128) and log.tokens_done == 4 * 128
    assert log.finished == [(p.recipe, False) for p in points]


def test_the_float_point_is_its_own_reference(finished):
    point = finished[2][0]
    assert (point.delta_nats, point.kl_mean, point.sqnr_db) == (0.0, 0.0, {})
    assert point.window_kl == point.window_delta_nats == (0.0,) * 4
    assert point.model_bytes == 4 * sum(
        np.prod(s)
        for s in (
            [256, 64],
            [64],
            *2 * ([64, 64], [64, 64], [32, 64], [32, 64], [96, 64], [96, 64], [64, 96], [64], [64]),
        )
    )


def test_a_second_run_measures_nothing(finished, measured):
    first = finished[2]
    log = Log()
    assert measured.run(log) == first
    assert log.measured == [] and log.started == (0, 0)
    assert log.finished == [(p.recipe, True) for p in first]


def test_a_new_recipe_is_measured_against_the_float_model_again(measured):
    log = Log()
    more = dataclasses.replace(measured, recipes=(*measured.recipes, make_recipe("fp4:g64")))
    more.run(log)
    assert log.measured == ["float32", "fp4:g64"]
    assert log.started == (2, 2 * 128) and log.tokens_done == 2 * 128


def test_a_stored_point_answers_to_the_name_that_asks(measured):
    renamed = dataclasses.replace(measured.recipes[0], name="mine")
    points = dataclasses.replace(measured, recipes=(renamed,)).run(Log())
    assert [p.recipe for p in points] == ["float32", "mine"]


def change_text(sweep):
    return dataclasses.replace(sweep, text=dataclasses.replace(sweep.text, sha256="other"))


def change_tokens(sweep):
    windows = dataclasses.replace(sweep.windows, tokens=sweep.windows.tokens[:, ::-1].copy())
    return dataclasses.replace(sweep, windows=windows)


@pytest.mark.parametrize("change", [change_text, change_tokens])
def test_other_content_is_another_point(measured, change):
    log = Log()
    change(measured).run(log)
    assert len(log.measured) == 4


def test_another_version_of_the_numerics_is_another_point(measured, monkeypatch):
    monkeypatch.setattr(numerics, "VERSION", "another")
    log = Log()
    measured.run(log)
    assert len(log.measured) == 4


def test_order_does_not_change_a_number(finished, sweep):
    """Check that buffers, which points reuse, carry nothing over to the next point."""
    reversed_sweep = dataclasses.replace(sweep, recipes=sweep.recipes[::-1])
    back = {p.recipe: p for p in reversed_sweep.run(Log())}
    for point in finished[2]:
        same = dataclasses.replace(
            back[point.recipe], wall_s=point.wall_s, tokens_per_s=point.tokens_per_s
        )
        assert same == point


@pytest.mark.slow
def test_activations_and_cache_cost_accuracy_of_their_own(sweep):
    recipes = (
        make_recipe("int8:g64"),
        make_recipe("int8:g64", "int4"),
        make_recipe("int8:g64", "int4", "int3"),
        make_recipe(None, None, "int3"),
    )
    _, w, wa, wakv, kv = dataclasses.replace(sweep, recipes=recipes).run(Log())
    assert 0 < w.kl_mean < wa.kl_mean < wakv.kl_mean
    assert kv.kl_mean > 0 and kv.sqnr_db == {} and kv.bits_per_weight == 32
    assert w.sqnr_db == wa.sqnr_db


@pytest.mark.parametrize(
    ("weights", "inputs"),
    [("int8:g64", "int8"), pytest.param("fp4:g32", "int8:g32", marks=pytest.mark.slow)],
)
def test_bit_true_products_agree_with_float_ones_up_to_rounding(sweep, weights, inputs):
    recipes = tuple(make_recipe(weights, inputs, pe=pe) for pe in (None, EXACT))
    _, fake, exact = dataclasses.replace(sweep, recipes=recipes).run(Log())
    assert exact.recipe == f"{fake.recipe} bit-true"
    assert exact.delta_nats == pytest.approx(fake.delta_nats, abs=2e-3)
    assert exact.kl_mean == pytest.approx(fake.kl_mean, rel=0.05)


def test_bit_true_products_need_quantized_inputs(sweep):
    recipe = make_recipe("int8:g64", pe=EXACT)
    with pytest.raises(UserError, match=r"^recipe .* bit-true .*--activations"):
        dataclasses.replace(sweep, recipes=(recipe,)).run(Log())


def test_a_result_survives_json(finished):
    for point in finished[2]:
        assert PointResult.from_json(point.to_json()) == point
        assert json.loads(point.to_json())["recipe"] == point.recipe


def test_windows_average_to_the_means_and_give_their_errors(sweep):
    source, text = sweep.source, sweep.text
    windows = take_windows(text, source.tokenizer(), tokens=288, context=32, spread=False)
    _, point = dataclasses.replace(sweep, windows=windows, recipes=sweep.recipes[-1:]).run(Log())
    assert point.windows == 9
    for mean, error, values in (
        (point.kl_mean, point.kl_mean_se, point.window_kl),
        (point.delta_nats, point.delta_nats_se, point.window_delta_nats),
    ):
        assert mean == pytest.approx(np.mean(values))
        assert error == pytest.approx(np.std(values, ddof=1) / 3)


def test_tokens_before_the_text_count_in_no_figure(sweep, monkeypatch):
    scored = {"_score_reference": [], "_score": []}
    for name, rows in scored.items():
        function = getattr(evaluate, name)

        def keep(*args, function=function, rows=rows, **options):
            rows.append(function(*args, **options))
            return rows[-1]

        monkeypatch.setattr(evaluate, name, keep)
    windows = dataclasses.replace(sweep.windows, unscored=3)
    points = dataclasses.replace(sweep, windows=windows, recipes=sweep.recipes[-1:]).run(Log())
    nll = np.stack([row[1] for row in scored["_score_reference"]])[:, 2:]
    kl, agrees = (np.stack([row[part] for row in scored["_score"]])[:, 2:] for part in (1, 2))
    assert [p.scored for p in points] == [nll.size] * 2 and nll.shape == (4, 29)
    assert points[0].perplexity == np.exp(nll.mean(dtype=np.float64))
    assert points[1].window_kl == tuple(kl.mean(axis=1, dtype=np.float64).tolist())
    assert points[1].top1_agreement == agrees.mean()


def test_few_windows_have_no_error(finished):
    point = finished[2][1]
    assert point.windows == 4 and point.kl_mean_se is None and point.delta_nats_se is None


class Scaled:
    """A source that multiplies the tensors whose names contain a word by a factor."""

    def __init__(self, source, word, factor):
        self.source, self.word, self.factor = source, word, np.float32(factor)

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, name):
        tensor = self.source.read(name)
        return tensor * self.factor if self.word in name else tensor


@pytest.mark.parametrize(
    ("word", "factor", "perplexity"), [("embed", 1e4, math.inf), ("_proj", 1e19, math.nan)]
)
def test_a_point_without_a_finite_perplexity_is_a_point(sweep, word, factor, perplexity):
    wild = dataclasses.replace(sweep, source=Scaled(sweep.source, word, factor))
    points = wild.run(Log())
    assert len(points) == 4 and str(points[0].perplexity) == str(perplexity)
    assert points[0].is_worse_than_uniform
    log = Log()
    again = wild.run(log)
    assert log.measured == [] and [p.to_json() for p in again] == [p.to_json() for p in points]


def test_other_points_of_the_store_on_the_same_sample_are_found(measured):
    other = dataclasses.replace(measured, recipes=(make_recipe("fp4:g64"), measured.recipes[0]))
    other.run(Log())
    assert [p.recipe for p in other.earlier()] == ["int4:g64", "ternary:g64"]
    assert change_text(other).earlier() == change_tokens(other).earlier() == []


@pytest.mark.slow
def test_sums_that_round_cost_a_little(sweep):
    pes = None, "bitmod-fp4-nearest", "bitmod-fp4-aligned"
    recipes = tuple(make_recipe("bitmod-fp4", group_size=32, pe=pe) for pe in pes)
    _, exact, nearest, cut = dataclasses.replace(sweep, recipes=recipes).run(Log())
    assert cut.recipe == f"{exact.recipe} pe=bitmod-fp4-aligned"
    # Differences of rounding on other sides of the mean are small beside those of the weights.
    assert nearest.kl_mean == pytest.approx(exact.kl_mean, rel=0.02)
    assert cut.kl_mean == pytest.approx(exact.kl_mean, rel=0.05)
    assert len({exact.kl_mean, nearest.kl_mean, cut.kl_mean}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "pe"),
    [
        ("int4", "mixpe-w4a16-running"),
        ("nf4", "fp16-mac"),
        ("bitmod-fp4", "bitmod-fp4-special"),
        ("bitmod-fp4-s8-hw", "bitmod-fp4-column"),
    ],
)
def test_a_model_runs_through_every_kind_of_pe_whose_sums_round(sweep, weights, pe):
    recipes = tuple(make_recipe(weights, group_size=32, pe=each) for each in (None, pe))
    _, exact, rounded = dataclasses.replace(sweep, recipes=recipes).run(Log())
    assert rounded.recipe == f"{exact.recipe} pe={pe}"
    assert rounded.kl_mean == pytest.approx(exact.kl_mean, rel=0.05)
    assert rounded.kl_mean != exact.kl_mean


def test_a_pe_that_rounds_reads_activations_itself(sweep):
    recipe = make_recipe("bitmod-fp4", "int8", group_size=32, pe="bitmod-fp4-aligned")
    with pytest.raises(UserError, match="rounds them to FP16 itself, so leave --activations out"):
        dataclasses.replace(sweep, recipes=(recipe,)).run(Log())


def test_an_error_of_the_system_without_a_file_names_the_output_directory(sweep, monkeypatch):
    def full(self, observer, crew):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Sweep, "run", full)
    message = f"^{re.escape(str(sweep.directory))}: the disk is full; free some space, or write"
    with pytest.raises(UserError, match=message):
        run_measured(sweep, Log(), None)
