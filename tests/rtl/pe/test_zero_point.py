"""Zero points off after the group: every input, and what is wrong or can't be."""

import dataclasses

import numpy as np
import pytest

import rtl.pe.zero_point.circuit
from numerics import FORMATS
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove, refute_wrong
from rtl.verilog.emit import verilog_text

PE = find_pe("mixpe-w4a8-zero")


@pytest.mark.slow
def test_every_weight_activation_and_zero_point():
    single, operands = PE.every_input()
    with CompiledPe(single) as model:
        found, _ = model.run(operands)
    assert len(found) == 1 << 16 and np.array_equal(found, single.golden(operands))


@pytest.mark.slow
def test_columns_share_a_row():
    pe = dataclasses.replace(PE, lanes=2)
    with CompiledPe(pe) as model:
        for operands in (pe.random(3000, seed=0), pe.corners(), pe.typical(50, seed=0)):
            found, _ = model.run(operands)
            assert np.array_equal(found, pe.golden(operands))


@pytest.mark.slow
def test_one_column_of_many_lanes():
    pe = find_pe("uint4-zero-16")
    with CompiledPe(pe) as model:
        for operands in (pe.random(3000, seed=0), pe.corners()):
            found, _ = model.run(operands)
            assert np.array_equal(found, pe.golden(operands))
    # One zero point less is noticed.
    operands = pe.random(100, seed=0)
    right = pe.golden(operands)
    operands["zeros"] = operands["zeros"] ^ 1
    assert not np.array_equal(pe.golden(operands), right)


def test_zero_points_are_those_of_the_last_beat():
    operands = PE.random(10, seed=1)
    others = {**operands, "zeros": operands["zeros"].copy()}
    others["zeros"][:, :-1] ^= 5
    assert np.array_equal(PE.golden(operands), PE.golden(others))
    others["zeros"][:, -1] ^= 5
    assert not np.array_equal(PE.golden(operands), PE.golden(others))


@pytest.mark.slow
def test_parts_are_proved_and_wrong_ones_refuted(monkeypatch):
    product, correction, _ = dataclasses.replace(PE, length=2).obligations()
    for obligation in (product, correction):
        assert prove(obligation).is_equal and not refute_wrong(obligation).is_equal
    monkeypatch.setattr(rtl.pe.zero_point.circuit, "Mux", lambda bit, one, zero: one)
    assert not prove(correction).is_equal


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"weights": FORMATS["int4"]}, "int4 is not an unsigned integer"),
        ({"activations": FORMATS["fp4_e2m1"]}, "fp4_e2m1 is not a two's complement number"),
        ({"lanes": 5}, "5 lanes for 2 columns; give a multiple"),
    ],
)
def test_what_it_cannot_carry(changes, words):
    with pytest.raises(ValueError, match=words):
        verilog_text(dataclasses.replace(PE, **changes))
