"""Sweeps with calibrated methods: the chosen codes are measured, and keyed by their text."""

import dataclasses

import numpy as np
import pytest
from _helpers.observers import Quiet

from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.report.table import notes
from sim.sources.catalog import open_model
from sim.sources.embedded import SECOND_NAME
from sim.sources.text import read_text
from sim.sweep.engine import Sweep
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.result import PointResult
from sim.sweep.windows import take_windows


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture(scope="module")
def calibration(source, text_file):
    text = read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=640, context=32, spread=True)
    return Calibration(text=text, tokens=windows.tokens)


@pytest.fixture
def sweep(source, text_file, calibration, tmp_path):
    text = read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=256, context=32, spread=False)
    second = take_windows(text, source.tokenizer(), tokens=512, context=32, spread=True)
    second = dataclasses.replace(second, tokens=second.tokens[-8:])
    recipes = tuple(make_recipe("int3:g32", method=m) for m in ("rtn", "clip", "gptq"))
    return Sweep(
        source=source,
        text=text,
        windows=windows,
        recipes=recipes,
        directory=tmp_path,
        calibration=calibration,
        second=(dataclasses.replace(text, name="another"), second),
    )


def test_gptq_loses_less_than_rounding_to_nearest(sweep, tmp_path, monkeypatch):
    _, rtn, clip, gptq = sweep.run(Quiet())
    assert [p.recipe for p in (rtn, clip, gptq)] == [
        "int3:g32", "int3:g32 clip", "int3:g32 gptq",
    ]  # fmt: skip
    assert gptq.kl_mean < 0.9 * clip.kl_mean < 0.9 * rtn.kl_mean
    # Codes are chosen for the outputs, so that the weights themselves are further off.
    assert np.mean([*gptq.sqnr_db.values()]) < np.mean([*rtn.sqnr_db.values()])
    assert rtn.bits_per_weight == gptq.bits_per_weight
    assert gptq.definition.endswith("by gptq") and "calibration" in gptq.provenance
    assert "calibration" not in rtn.provenance
    # The second text is measured by the same pass, and reported apart from the first.
    assert rtn.second.text == "another" and rtn.second.windows == 8
    assert 0 < gptq.second.kl_mean < rtn.second.kl_mean != rtn.kl_mean
    assert PointResult.from_json(gptq.to_json()) == gptq
    assert "On a second text, another, 8 windows, KL in nats: int3:g32 gptq" in " ".join(
        notes([rtn, gptq])
    )
    others = dataclasses.replace(sweep, recipes=())
    assert [p.recipe for p in others.earlier()] == [p.recipe for p in (rtn, clip, gptq)]
    monkeypatch.setattr("sim.methods.catalog.VERSION", -1)
    assert [p.recipe for p in others.earlier()] == [rtn.recipe]
    alone = dataclasses.replace(
        sweep, second=None, recipes=sweep.recipes[:1], directory=tmp_path / "alone"
    )
    assert alone.run(Quiet())[1].kl_mean == rtn.kl_mean


class Wild:
    """A model whose activations are NaN after the first block."""

    def __init__(self, source):
        self.source = source

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, name):
        return self.source.read(name) * (np.nan if name == "layers.0.mlp.down_proj.weight" else 1)


def test_activations_that_are_not_finite_are_refused_by_calibrated_methods(sweep):
    wild = dataclasses.replace(sweep, source=Wild(sweep.source), recipes=sweep.recipes[1:2])
    with pytest.raises(UserError, match=r"inputs of \w+ in block [01] are not finite"):
        wild.run(Quiet())


def test_another_second_text_is_another_point(sweep):
    text, windows = sweep.second
    fewer = dataclasses.replace(windows, tokens=windows.tokens[:-1])
    seconds = [sweep.second, None, (text, fewer), (dataclasses.replace(text, sha256="1"), windows)]
    seconds.append((dataclasses.replace(text, name=SECOND_NAME), windows))
    for recipe in sweep.recipes[0], sweep.recipes[2]:
        keys = {dataclasses.replace(sweep, second=second)._key(recipe) for second in seconds}
        assert len(keys) == len(seconds)


def test_another_calibration_text_is_another_point(sweep, calibration):
    other = dataclasses.replace(
        sweep, calibration=dataclasses.replace(calibration, tokens=calibration.tokens[:-1])
    )
    rtn, _, gptq = sweep.recipes
    assert sweep._key(rtn) == other._key(rtn)
    assert sweep._key(gptq) != other._key(gptq)


@pytest.mark.parametrize(
    ("scheme", "method", "message"),
    [
        ("int8-top54", "gptq", "for weights take int8 or int8-2-of-4"),
        ("kmeans3", "clip", "has no clip search"),
        ("int4:channel", "gptq(order=group)", "order 'group' needs a scheme with groups"),
    ],
)
def test_a_scheme_that_a_method_cannot_choose_codes_for_is_refused(source, scheme, method, message):
    with pytest.raises(UserError, match=message):
        plan(make_recipe(scheme, method=method), source.config)
