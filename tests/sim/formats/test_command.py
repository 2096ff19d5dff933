import re
from pathlib import Path

import numpy as np
import pytest

import numerics
from numerics import CATALOG
from numerics.conformance.pack import DATA, read
from sim.cli import main
from sim.formats.describe import definition


def qsim(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["formats", *arguments])
    return stop.value.code, *capsys.readouterr()


def test_the_list_has_bits_range_and_source(capsys):
    code, out, _ = qsim(capsys)
    row = next(line for line in out.splitlines() if line.startswith("nvfp4 "))
    assert code == 0 and row.split()[1:5] == ["4.5", "4", "15", "±6"] and "NVIDIA" in row


def test_show_prints_codes_midpoints_and_ties_and_draws(capsys, tmp_path):
    code, out, _ = qsim(capsys, "show", "fp4", "--out", str(tmp_path / "new" / "grid.png"))
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and ["0101", "3", "3.5", "4"] in rows and ["0111", "6"] in rows
    assert (tmp_path / "new" / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_show_says_how_a_scheme_stores_a_matrix(capsys):
    code, out, _ = qsim(capsys, "show", "spqr-3-o1")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and "3 index, 3.945 full, 4.3278 stored" in out
    assert ["scale_codes", "4096", "x", "256", "3"] in rows and "code" not in rows
    code, out, _ = qsim(capsys, "show", "q4_k")
    assert code == 0 and "4.5 full" in out and ">>>" not in out
    code, out, _ = qsim(capsys, "show", "int4-lorc8")
    assert code == 0 and "its last bits differ between machines" in out


def test_explain_says_why(capsys):
    code, out, _ = qsim(capsys, "explain", "fp4", "5")
    assert (code, out.splitlines()[0]) == (0, "5 in fp4_e2m1 is 4, code 0110")
    assert out.splitlines()[-1].endswith("ties go to the even significand")


def test_explain_says_what_becomes_of_numbers_together(capsys):
    code, out, _ = qsim(capsys, "explain", "q4_0", "4.25", "-8", "0.7")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and rows[1:4] == [["4.25", "4"], ["-8", "-8"], ["0.7", "1"]]
    assert "in q4_0, as one row padded with 29 zeros" in out
    code, out, _ = qsim(capsys, "explain", "int8:g4:fp32", "127", "-3.4", "inf", "1")
    assert code == 0 and out.count("nan") == 5 and "scales: nan" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "fp5"], "qsim: unknown format 'fp5'; did you mean 'fp4'"),
        (["show", "fp32"], "qsim: 'fp32' has 2^32 codes, too many to list"),
        (["show", "e8p", "--out", "grid.png"], "qsim: rounding in 'e8p' depends"),
        (["explain", "kmeans3", "4"], "qsim: rounding in 'kmeans3' depends"),
        (["explain", "q4_k", "4"], "qsim: rounding in 'q4_k' depends"),
        (["explain", "q4_k_m", "4"], "qsim: 'q4_k_m' is not a single format: it is a mix"),
        (["show", "fp4", "--out", "grid.pdf"], "qsim: 'grid.pdf' is not a .png or .svg file"),
        (["explain", "fp4", "4", "five"], "qsim: Invalid value"),
        (["explain", "fp4", "nan"], "qsim: fp4_e2m1 has no code for NaN"),
        (["explain", "fp4", "four"], "qsim: Invalid value"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, arguments, message):
    code, out, err = qsim(capsys, *arguments)
    assert (code, out) == (2, "") and err.startswith(message) and err.count("\n") == 1


def test_check_compares_and_exits_1_on_a_difference(capsys, tmp_path):
    (tmp_path / "formats").mkdir()
    ours = read(DATA / "formats" / "int2.npz")
    np.savez_compressed(tmp_path / "formats" / "int2.npz", codes=ours["codes"])
    assert qsim(capsys, "check", str(tmp_path))[0] == 0
    np.savez_compressed(tmp_path / "formats" / "int2.npz", codes=ours["codes"] ^ 1)
    code, out, _ = qsim(capsys, "check", str(tmp_path))
    assert code == 1 and "formats/int2.npz" in out and "not 0x" in out
    assert qsim(capsys, "check", str(tmp_path / "none"))[0] == 2


def test_mxfp4_says_first_what_it_is(capsys):
    _, out, _ = qsim(capsys, "show", "mxfp4")
    first, second, *_ = out.splitlines()
    assert first == (
        "mxfp4: elements fp4_e2m1, blocks of 32, E8M0 scale, floor rule, 4.25 bits per weight"
    )
    assert second == "source: OCP MX v1.0, section 6.3"


def test_widths_packings_and_mixes_are_listed_and_shown(capsys):
    _, out, _ = qsim(capsys, "list")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert rows["w4a8"].split() == ["w4a8", "int4", "int8:token:fp32", "float"]
    assert rows["w4a16"].split() == ["w4a16", "int4", "float", "float", "int4"]
    assert rows["q4_k_m"].split()[1] == "4.89" and "Q6_K in half of the layers" in rows["q4_k_m"]
    assert {"i2_s", "tl1", "tl2", "tmac-4", "gguf-q4_0"} <= set(rows)
    _, out, _ = qsim(capsys, "show", "q4_k_m")
    assert "consists of: Q4_K; v_proj and down_proj Q6_K in half of the layers" in out
    _, out, _ = qsim(capsys, "show", "w4a8")
    assert "weights: elements int4, groups of 128" in out and "activations: elements int8" in out
    _, out, _ = qsim(capsys, "show", "int4")
    assert "same as: w4a16" in out


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("int4", "options: tensor, channel, token, g<size>, .*; as in int4:g64:bf16"),
        (
            "fp4_e2m1",
            "options: tensor, .* a scale format \\(.*\\) or a scale rule .*; as in .*",
        ),
        ("twn", "options: g<size>, as in twn:g64"),
        ("nvfp4", "options: none"),
        ("int4:g64", "options: tensor, .*; as in int4:g64:bf16"),
    ],
)
def test_a_format_shows_the_options_that_its_name_takes(capsys, name, line):
    _, out, _ = qsim(capsys, "show", name)
    assert re.search(f"(?m)^{line}$", out)


def functions_of_numerics():
    """Return the words with an underscore, which are names of functions."""
    texts = [path.read_text("utf-8") for path in Path(numerics.__file__).parent.rglob("*.py")]
    names = {
        name for text in texts for name in re.findall(r"(?m)^def (_?[a-z]+(?:_[a-z0-9]+)+)\(", text)
    }
    assert len(names) > 100
    # "scale_code" is also a symbol of formulas, which may be shown.
    return names - {"scale_code"}


def test_no_function_and_no_module_is_named_in_a_terminal():
    functions = functions_of_numerics()
    schemes = [entry.scheme for entry in CATALOG.values()]
    for scheme in schemes:
        text = definition(scheme)
        assert text and "numerics." not in text and "_reference" not in text, scheme.name
        assert not functions & set(re.findall(r"\w+", text)), scheme.name
