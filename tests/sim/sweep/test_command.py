"""``--format all`` reports the formats that it leaves out."""

import pytest

from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sweep.command import fitting
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
