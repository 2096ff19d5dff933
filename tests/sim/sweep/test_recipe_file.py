import pytest

from numerics import parse_scheme
from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sweep.recipe import FLOAT32, Rule, plan
from sim.sweep.recipe_file import make_recipe, read_recipes

GOOD = """
[[recipe]]
name = "mixed"
[[recipe.rule]]
match = "*.down_proj"
weights = "int8"
[[recipe.rule]]
weights = "fp4:g64"
activations = "int8"

[[recipe]]
name = "plain"
kv = "fp8_e4m3"

[[grid]]
weights = ["fp4", "int4"]
group_size = [32, 64]
kv = ["none", "int8"]
"""


def write(tmp_path, text):
    path = tmp_path / "recipes.toml"
    path.write_text(text)
    return path


def test_recipes_and_grids_are_read_in_order(tmp_path):
    recipes = read_recipes(write(tmp_path, GOOD))
    assert [r.name for r in recipes[:4]] == ["mixed", "plain", "fp4:g32", "fp4:g64"]
    assert recipes[0].rules == (
        Rule(match="*.down_proj", weights=parse_scheme("int8")),
        Rule(
            weights=parse_scheme("fp4:g64"),
            activations=parse_scheme("int8", role="activation"),
        ),
    )
    assert recipes[1].rules == (Rule(kv=parse_scheme("fp8_e4m3", role="kv")),)
    assert {r.name for r in recipes[2:]} == {
        f"{head}{w}:g{g}{tail}"
        for w in ("fp4", "int4")
        for g in (32, 64)
        for head, tail in (("", ""), ("w=", ",kv=int8"))
    }


def test_a_recipe_names_its_pe(tmp_path):
    text = '[[recipe]]\nname = "a"\nweights = "bitmod-fp4"\npe = "bitmod-fp4-aligned"\n'
    plain = '[[recipe]]\nname = "b"\nweights = "bitmod-fp4"\n'
    first, second = read_recipes(write(tmp_path, text + plain), pe="bitmod-fp4-nearest")
    assert (first.pe, second.pe) == ("bitmod-fp4-aligned", "bitmod-fp4-nearest")
    with pytest.raises(UserError, match="pe of recipe a must be a string, not 3"):
        read_recipes(write(tmp_path, text.replace('"bitmod-fp4-aligned"', "3")))


def test_skips_come_before_the_rules(tmp_path):
    first, *_ = read_recipes(write(tmp_path, GOOD), skip=["layers.0.*"])
    assert first.rules[0] == Rule(match="layers.0.*")


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("fp4",), "fp4"),
        (("fp4", "int8"), "w=fp4,a=int8"),
        (("fp4", "int8", "int8"), "w=fp4,a=int8,kv=int8"),
        ((None, None, "int8"), "kv=int8"),
        (("none", "int8", "none"), "a=int8"),
    ],
)
def test_a_recipe_is_named_after_what_it_quantizes(parts, name):
    assert make_recipe(*parts).name == name


def test_nothing_to_quantize_is_the_float_model():
    assert make_recipe("float32") == make_recipe(None, "none") == FLOAT32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r" has no tables; a recipe file has \[\[recipe\]\] and \[\[grid\]\] tables$"),
        ("x = 1", r" has 'x'; a recipe file has \[\[recipe\]\] and \[\[grid\]\] tables$"),
        ("[recipe]", r": 'recipe' must be \[\[recipe\]\] tables$"),
        ("[[recipe]]\nweights='fp4'", r": each \[\[recipe\]\] needs a name, and not 'float32'$"),
        (
            "[[recipe]]\nname='a'\nwieghts='fp4'",
            r": recipe a has 'wieghts'; a rule has 'activations'",
        ),
        ("[[recipe]]\nname='a'\nweights=4", r": weights of recipe a must be a string, not 4$"),
        ("[[recipe]]\nname='a'\nweights='fp5'", r"^unknown format 'fp5'; did you mean 'fp4'"),
        (
            "[[grid]]\nweights='fp4'",
            r": weights of a grid must be a list of strings, as in weights = ",
        ),
        ("[[grid]]\ngroup_size=['a']", r": group_size of a grid must be a list of numbers, as in "),
        ("[[grid]]\nbits=[4]", r": a grid has 'activations', .*, not 'bits'$"),
        ("[[recipe", r" is not a TOML file: "),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as refusal:
        read_recipes(write(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^no recipe file at .*none\.toml; it is a TOML file with"):
        read_recipes(tmp_path / "none.toml")


@pytest.mark.parametrize("role", ["activations", "kv"])
def test_fp8_means_e4m3_for_activations_and_cache(role):
    rules = [make_recipe(None, **{role: name}).rules for name in ("fp8", "fp8_e4m3")]
    assert rules[0] == rules[1]


def test_a_method_that_would_choose_no_codes_is_refused(tmp_path):
    rules = """
    [[recipe]]
    name = "a"
    [[recipe.rule]]
    match = "layers.*"
    weights = "int4"
    [[recipe.rule]]
    match = "embed_tokens"
    weights = "int8"
    method = "gptq"
    """
    config = open_model("embedded").config
    (recipe,) = read_recipes(write(tmp_path, rules))
    with pytest.raises(UserError, match="'embed_tokens' has the method gptq and no linear layer"):
        plan(recipe, config)
    (recipe,) = read_recipes(
        write(tmp_path, '[[recipe]]\nname = "a"\nactivations = "int8"\nmethod = "gptq"\n')
    )
    with pytest.raises(UserError, match="leave the method out"):
        plan(recipe, config)
