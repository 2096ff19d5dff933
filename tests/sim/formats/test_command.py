import numpy as np
import pytest

from numerics.conformance.pack import DATA, read
from sim.cli import main


def qsim(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["formats", *arguments])
    return stop.value.code, *capsys.readouterr()


def test_the_list_has_bits_range_and_source(capsys):
    code, out, _ = qsim(capsys)
    row = next(line for line in out.splitlines() if line.startswith("nvfp4 "))
    assert code == 0 and row.split()[1:5] == ["4", "15", "±6", "4.5"] and "NVIDIA" in row


def test_show_prints_codes_midpoints_and_ties_and_draws(capsys, tmp_path):
    code, out, _ = qsim(capsys, "show", "fp4", "--out", str(tmp_path / "grid.png"))
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and ["0101", "3", "3.5", "4"] in rows and ["0111", "6"] in rows
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


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
    assert "in q4_0, as one row with 29 zeros behind" in out
    code, out, _ = qsim(capsys, "explain", "int8:g4:fp32", "127", "-3.4", "inf", "1")
    assert code == 0 and out.count("nan") == 5 and "scales: nan" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "fp5"], "qsim: unknown format 'fp5'; did you mean 'fp4'"),
        (["show", "fp32"], "qsim: 'fp32' has 2^32 codes, too many to list"),
        (["show", "e8p", "--out", "grid.png"], "qsim: what a number becomes in 'e8p' depends"),
        (["explain", "kmeans3", "4"], "qsim: what a number becomes in 'kmeans3' depends"),
        (["explain", "q4_k", "4"], "qsim: 'q4_k' is read from GGUF files and not made; these are"),
        (["show", "fp4", "--out", "grid.pdf"], "qsim: 'grid.pdf' is no .png or .svg file"),
        (["explain", "q4_k", "4", "5"], "qsim: 'q4_k' is read from GGUF files and not made"),
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
