"""Words of a command line: lists with and without commas, models wherever they stand."""

import pytest

from hw.accelerator import list_accelerators
from hw.machine import list_machines
from numerics import CATALOG
from roofline.runtime.gguf_mixes import MIXES
from sim.cli import main
from sim.cli.sweep import _with_words
from sim.cli.words import names_model, only_model, without_models
from sim.errors import UserError
from sim.formats.served import SERVED
from sim.options import split
from sim.sweep.options import SweepOptions


def test_no_format_and_no_machine_is_taken_for_a_model():
    formats = (*CATALOG, *MIXES, *SERVED, "i2_s", "tmac-2", "all", "none", "int4:g64")
    assert not [name for name in formats if names_model(name)]
    assert not [name for name in (*list_machines(), *list_accelerators()) if names_model(name)]


def test_models_are_found_among_formats(tmp_path):
    words = ("fp4", "embedded", "smollm2-135m-instruct", "Llama-3.1-8B", "org/name", str(tmp_path))
    assert without_models(words) == (words[:1], words[1:])


def test_a_directory_named_as_a_format_is_no_model(tmp_path, monkeypatch):
    """A directory with the name of a format, as ``--out w4a8`` makes."""
    monkeypatch.chdir(tmp_path)
    for name in ("w4a8", "fp4", "q4_k_m"):
        (tmp_path / name).mkdir()
        assert not names_model(name)


def test_a_sweep_takes_a_model_and_a_recipe_file_in_any_order():
    options = SweepOptions(formats=("fp4", "mixed.toml"))
    for words in (("embedded",), ()):
        found = _with_words(options, words)
        assert (found.formats, found.model) == (("fp4",), "embedded")
        assert found.recipes is not None and found.recipes.name == "mixed.toml"
    with pytest.raises(UserError, match=r"^2 recipe files"):
        _with_words(options, ("other.toml",))


def test_two_models_are_refused_and_one_given_twice_is_not():
    assert only_model(["a"], "a", default="embedded") == "a"
    with pytest.raises(UserError, match=r"^2 models, a and b; this command takes one$"):
        only_model(["a"], "b", default="embedded")


def test_commas_part_lists_but_not_tables():
    assert list(split("fp4,int4 , table(-1,0,1),")) == ["fp4", "int4", "table(-1,0,1)"]


def test_a_word_that_a_command_does_not_take_is_named_without_a_list(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["quantize", "embedded", "--format", "fp4", "int4", "--out", "x"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "qsim: qsim quantize does not take 'int4'; see --help\n"
