"""One name means the same to every command."""

import pytest

from numerics import CATALOG, parse_scheme
from numerics.gguf.mixes import UNIFORM
from roofline.runtime.serving_format import parse_format
from sim.errors import UserError
from sim.formats.lookup import is_format
from sim.formats.served import PACKINGS, SERVED, names
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import find_meaning, is_served, mix_of
from sim.sweep.recipe_file import make_recipe


@pytest.mark.parametrize("name", [*SERVED, "int4:g128", "nvfp4", "mxfp4", "bitmod-fp4", "fp4"])
def test_weights_of_a_sweep_are_those_of_a_prediction(name):
    assert find_meaning(name).weights == parse_format(name).weights.scheme


@pytest.mark.parametrize("name", [*SERVED, *PACKINGS])
def test_activations_of_a_sweep_have_the_operand_of_a_prediction(name):
    activations = find_meaning(name).activations
    operand = parse_format(name).activations
    assert is_served(name)
    assert (activations is None) == (operand in ("fp16", "fp32"))
    if activations is not None:
        assert operand[:3] in activations.name and operand[-1] in activations.name


def test_every_listed_name_is_one_in_sweeps_and_predictions():
    for name in (*CATALOG, *SERVED, *PACKINGS, *(name for name, _ in names())):
        assert is_format(name), name
        assert parse_format(name).name == name


def test_w4a16_is_int4_and_a_recipe_of_either_is_the_same_point():
    assert find_meaning("w4a16") == find_meaning("int4")
    assert make_recipe("w4a16").canonical() == make_recipe("int4").canonical()
    assert make_recipe("w4a8").canonical() == make_recipe("int4", "int8").canonical()


def test_a_block_type_alone_is_a_scheme_and_with_its_prefix_a_file():
    assert find_meaning("q4_0").weights == parse_scheme("q4_0")
    assert mix_of("q4_0") is None and mix_of("gguf-q4_0") == GgufMix("q4_0")
    assert mix_of("Q4_K_M") == mix_of("gguf:q4_k_m") == GgufMix("q4_k_m")


@pytest.mark.parametrize("name", UNIFORM)
def test_a_block_type_is_that_of_a_prediction_too(name):
    served = parse_format(name)
    shape = (4096, 4096)
    assert served.weights.bits == find_meaning(name).weights.bits_per_weight(shape, kind="full")
    assert served.mix == UNIFORM[name]


@pytest.mark.parametrize("name", ["gguf-q4_k", "gguf-q3_k", "q4", "q5", "q6", "q8"])
def test_words_of_measured_tables_are_no_formats_of_commands(name):
    with pytest.raises(UserError, match="unknown"):
        find_meaning(name)
    with pytest.raises(ValueError, match=f"unknown format '{name}'"):
        parse_format(name)


def test_a_group_size_is_for_weights_that_leave_it_open():
    weights = find_meaning("w4a8", group_size=32).weights
    assert weights == parse_scheme("int4:g32")
    with pytest.raises(UserError, match="give different group sizes"):
        find_meaning("w4a16-g64", group_size=32)
    with pytest.raises(UserError, match="mix of GGUF blocks"):
        find_meaning("q4_k_m", group_size=32)


def test_two_formats_for_one_role_are_refused():
    with pytest.raises(UserError, match=r"^w4a8 means int8:token:fp32, but int4:token:fp32 is giv"):
        make_recipe("w4a8", "int4")
    assert make_recipe("w4a8", "int8").rules == make_recipe("w4a8").rules


def test_widths_of_floats_are_refused_with_what_works():
    with pytest.raises(UserError, match="'fp16' is not simulated: sweeps keep unquantized models"):
        find_meaning("fp16")
    with pytest.raises(UserError, match="give --activations or --kv alone"):
        find_meaning("w16a8")


@pytest.mark.parametrize("name", ["iq2_xs", "gguf-iq2_xs", "iq4_kss", "gguf-mxfp4"])
def test_a_format_that_only_predictions_know_is_named_as_such(name):
    with pytest.raises(UserError, match="is a format of qsim roofline alone"):
        find_meaning(name)
