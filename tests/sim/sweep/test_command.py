"""Formats that ``--format all`` leaves out, and options that a sweep would ignore."""

import pytest

from sim.calibration.options import CalibrationOptions
from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sweep.calibration_texts import read_calibration
from sim.sweep.command import collect_recipes, fitting
from sim.sweep.options import SweepOptions
from sim.sweep.recipe_file import make_recipe


def test_formats_that_do_not_fit_are_left_out_by_name():
    source = open_model("embedded")
    recipes = [make_recipe(name) for name in ("int4", "tq1_0", "tq2_0")]
    kept, refused = fitting(recipes, source, kept=("all", "tq2_0"))
    assert [recipe.name for recipe in kept] == ["int4", "tq2_0"]
    (line,) = refused
    assert line.startswith(
        "tq1_0, layers.0.mlp.down_proj and 3 more: tq1_0 stores rows of whole blocks of 256"
    )


def test_formats_none_of_which_fits_are_refused():
    source = open_model("embedded")
    recipes = [make_recipe(name) for name in ("tq1_0", "tq2_0")]
    with pytest.raises(UserError, match=r"tq1_0 stores rows of whole blocks of 256"):
        fitting(recipes, source, kept=("all",))


def test_a_group_size_without_a_format_is_refused(tmp_path):
    file = tmp_path / "recipes.toml"
    file.write_text('[[recipe]]\nname = "a"\nweights = "int4"\n')
    for options in (SweepOptions(recipes=file, group_size=32),
                    SweepOptions(activations="int8", group_size=32)):  # fmt: skip
        with pytest.raises(UserError, match="--group-size 32 is for the weights of --format"):
            collect_recipes(options)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (None, {"sequence": 64}, "--sequence 64 is for calibrated methods only"),
        (None, {"calibration_tokens": 64}, "--calibration-tokens 64 is for calibrated methods"),
        ("gptq", {"sequence": 513}, "which has 512 positions; give 2 to 512"),
        ("gptq", {"sequence": 1}, "give 2 to 512"),
    ],
)
def test_calibration_options_that_would_be_ignored_or_lowered_are_refused(method, options, message):
    recipe = make_recipe("int4", method=method)
    with pytest.raises(UserError, match=message):
        read_calibration(CalibrationOptions(**options), open_model("embedded"), [recipe])
