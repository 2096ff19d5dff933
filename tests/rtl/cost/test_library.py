"""Liberty files: syntax, functions, tables and units, and messages for wrong files."""

import itertools
import math

import numpy as np
import pytest

from rtl.cost.boolean import compiled
from rtl.cost.cells import liberty_text
from rtl.cost.library import read_library
from rtl.toolchain import ToolError

#: Tables of load and transition, in pF and ns; semicolons are missing, as in vendors' files.
SMALL = """
library(small) {
  time_unit : "1ns" ;
  capacitive_load_unit (1,pf);
  leakage_power_unit : 1uW
  nom_voltage : 2.0
  lu_table_template (two) {
    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0.1, 0.2, 0.4"); index_2 ("0.01, 0.03");
  }
  cell (NAND) { // two inputs
    area : 5
    cell_leakage_power : 3;
    pin (A) { direction : input; capacitance : 0.008; }
    pin (B) { direction : input; capacitance : 0.012; }
    pin (Y) { direction : output; function : "(A B)'";
      timing () { related_pin : "A";
        cell_rise (two) { values ("1, 2", \\
          "3, 5", "7, 8"); }
        cell_fall (scalar) { values ("6"); } }
      internal_power () { rise_power (scalar) { values ("0.002"); } }
      internal_power () { fall_power (scalar) { values ("0.004"); } } } }
  cell (FLOP) { area : 9; leakage_power () { value : 1; } leakage_power () { value : 2; }
    ff (P, N) { next_state : "!D"; clocked_on : "C"; }
    pin (D) { direction : input; capacitance : 0.010; }
    pin (C) { direction : input; capacitance : 0.5; clock : true; }
    pin (Q) { direction : output; function : "P"; }
    pin (QN) { direction : output; function : "N"; } }
  cell (SET) { area : 9; ff (P, N) { next_state : "D"; clocked_on : "C"; preset : "S"; }
    pin (D) { direction : input; } pin (S) { direction : input; } pin (C) { direction : input; }
    pin (Q) { direction : output; function : "P"; } }
}
"""


@pytest.fixture
def small(tmp_path):
    def read(old: str = "", new: str = ""):
        assert old in SMALL
        (tmp_path / "small.lib").write_text(SMALL.replace(old, new, 1))
        return read_library(tmp_path / "small.lib")

    return read


def test_tables_become_constants_in_the_files_units(small):
    library = small()
    nand = library.cells["NAND"]
    assert nand.inputs == pytest.approx({"A": 8.0, "B": 12.0}) and library.voltage_v == 2.0
    # The load is twice the median 11 fF; of the second transition 3 and 5, so 4.2; with 6 5.1 ns.
    assert nand.delay_ps == pytest.approx(1000 * (3 + 2 * 0.6 + 6) / 2)
    assert nand.leakage_nw == pytest.approx(3000) and nand.internal_fj == pytest.approx(3.0)
    assert set(library.cells) == {"NAND", "FLOP", "SET"}


def test_odd_tables_and_units_are_read_or_refused(small):
    # Two equal loads, a load above the largest, and no unit of capacitance.
    assert small('"0.01, 0.03"', '"0.01, 0.01"').cells["NAND"].delay_ps == pytest.approx(5500)
    assert small('"0.01, 0.03"', '"0.01, 0.02"').cells["NAND"].delay_ps == pytest.approx(5500)
    assert small("(1,pf)", '(1,"")').cells["NAND"].inputs["A"] == pytest.approx(8e12)


def test_flip_flops_have_two_outputs(small):
    flop = small().cells["FLOP"]
    d = {"D": np.array([False, True])}
    assert flop.functions["Q"](d).tolist() == [True, False]
    assert flop.functions["QN"](d).tolist() == [False, True]
    assert flop.clock_ff == pytest.approx(500) and math.isnan(flop.clock_edge_fj)
    assert flop.leakage_nw == pytest.approx(1500)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("area : 5", "area : five", "line 12, cell NAND: 'five' where a number should stand"),
        ("area : 5", "", "line 11, cell NAND: no area"),
        ("(A B)'", "(A B", "line 16, cell NAND: function .* parenthesis that never ends"),
        ("area : 5", "area : -5", "line 11, cell NAND: an area of -5"),
        ("(A B)'", "(A X)'", "line 16, cell NAND: function .* 'X' is not one of A, B, Y"),
        ("0.008", "1e999", "line 14, cell NAND: '1e999' where a number"),
        ('"7, 8"', '"7"', "line 18, cell NAND: 5 values for 3 x 2 indices"),
        ('clocked_on : "C"', 'clocked_on : "X"', "line 24, cell FLOP: clocked_on names no pin"),
        ("cell (NAND) {", "cell (NAND) @", "line 12: @ area; a name is followed"),
        ("cell (SET)", "cell (SET) { }}", "line 29: . where a name should stand"),
        ("1ns", "1ages", "line 3: time_unit '1ages' is not a unit such as '1ns'"),
        ("library(small)", "librery(small)", "0 library groups"),
        ("// two", "/* two", "never ends"),
    ],
)
def test_what_is_wrong_has_its_line_and_cell(small, old, new, words):
    with pytest.raises(ToolError, match=words):
        small(old, new)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    text, path = liberty_text(), tmp_path / "cut.lib"
    for end in range(0, len(text) - 3, 97):
        path.write_text(text[:end])
        with pytest.raises(ToolError, match=r"cut\.lib: line"):
            read_library(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!((A B)+C)", lambda a, b, c: not ((a and b) or c)),
        ("A ^ B & C", lambda a, b, c: (a != b) and c),
        ("A + B ^ C'", lambda a, b, c: a or b != (not c)),
        ("!A' | 0 & B * C", lambda a, b, c: a),
        ("(A B) + (B C) + (C A)", lambda a, b, c: a + b + c >= 2),
        ("!(!(!A)) 1", lambda a, b, c: not a),
    ],
)
def test_functions_have_libertys_order_of_operators(text, expected):
    rows = list(itertools.product([False, True], repeat=3))
    bits = dict(zip("ABC", np.array(rows).T, strict=True))
    assert compiled(text)(bits).tolist() == [bool(expected(*row)) for row in rows]


@pytest.mark.parametrize(
    "text", ["", "A +", "(A", "A)", "A $ B", "'A", "(" * 200 + "A" + ")" * 200]
)
def test_invalid_functions_are_refused(text):
    with pytest.raises(ValueError, match=r"function|left over|never ends|should stand|parenthes"):
        compiled(text)
