"""E8P in hardware: every code, and mutations of table bits and signs."""

import dataclasses

import numpy as np
import pytest

import rtl.pe.e8p.circuit
from numerics.codebooks import e8p
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove
from rtl.verilog.emit import verilog_text

PE = find_pe("e8p-dot")


@pytest.mark.slow
def test_every_code_and_sums_of_all_kinds():
    single, every = PE.every_input()
    with CompiledPe(single) as model:
        found, _ = model.run(every)
        # The activations of a code are the columns of the identity.
        assert np.array_equal(found.reshape(-1, 8), e8p.points())
        assert np.array_equal(found, PE.golden(every))
        for operands in (PE.random(3000, seed=0), PE.corners(), PE.typical(50, seed=0)):
            assert np.array_equal(model.run(operands)[0], PE.golden(operands))


def test_corners_fill_the_result():
    found = PE.golden(PE.corners())
    largest = 16 * 42 * 128
    assert 0.98 * largest < found.max() <= largest and 0.98 * largest < -found.min() <= largest
    assert PE.result_shape.width == largest.bit_length() + 1


def wrong_word(row, bit):
    words = e8p.packed_rows().copy()
    words[row] ^= np.uint32(1 << bit)
    return words


@pytest.mark.parametrize("row,bit", [(0, 1), (0, 31), (226, 14), (255, 29)])
def test_a_flipped_bit_of_the_table_is_refuted(monkeypatch, row, bit):
    decoder, _ = PE.obligations()
    words = wrong_word(row, bit)
    monkeypatch.setattr(rtl.pe.e8p.circuit.e8p, "packed_rows", lambda: words)
    assert not prove(decoder).is_equal


def test_wrong_places_are_refuted(monkeypatch):
    decoder, term = PE.obligations()
    monkeypatch.setattr(rtl.pe.e8p.circuit, "Mux", lambda bit, one, zero: zero)
    assert not prove(term).is_equal and not prove(decoder).is_equal


def test_lanes_of_whole_codes():
    with pytest.raises(ValueError, match="12 lanes; a code has 8 weights"):
        verilog_text(dataclasses.replace(PE, lanes=12))
