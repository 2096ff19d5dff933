"""TL1 and TL2: what their circuits give, and what a wrong entry does."""

import dataclasses

import numpy as np
import pytest

import rtl.pe.lookup.circuit
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove
from rtl.verilog.emit import verilog_text

NAMES = ["tl1-lookup", "tl2-lookup"]


@pytest.mark.parametrize("name", [pytest.param(NAMES[0], marks=pytest.mark.slow), NAMES[1]])
def test_columns_at_one_table_give_the_sums_of_their_own_weights(name):
    pe = find_pe(name)
    assert pe.result_shape.width == 3 * 16
    pe = dataclasses.replace(pe, columns=2, lanes=2 * pe.size)
    with CompiledPe(pe, optimize="-O1") as model:
        for operands in (pe.random(2000, seed=0), pe.corners(), pe.typical(50, seed=0)):
            found, _ = model.run(operands)
            assert np.array_equal(found, pe.golden(operands))


@pytest.mark.slow
def test_every_code_and_pair_of_activations():
    pe = dataclasses.replace(find_pe("tl1-lookup"), columns=1, lanes=2)
    numbers = np.arange(1 << 20)
    operands = {
        "codes": (numbers >> 16).reshape(-1, 1, 1),
        "activations": np.stack([numbers >> 8 & 255, numbers & 255], axis=-1)[:, None],
    }
    with CompiledPe(pe) as model:
        found, _ = model.run(operands)
    assert np.array_equal(found, pe.golden(operands))


@pytest.mark.parametrize("name", NAMES)
def test_typical_codes_stand_for_weights(name):
    pe = find_pe(name)
    codes = np.unique(pe.typical(200, seed=0)["codes"])
    assert len(codes) == 3**pe.size


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_entry_is_refuted(monkeypatch, name):
    (obligation,) = find_pe(name).obligations()
    right = rtl.pe.lookup.circuit.table

    def wrong(m, activations):
        entries = right(m, activations)
        return [*entries[:-1], entries[-2]]

    monkeypatch.setattr(rtl.pe.lookup.circuit, "table", wrong)
    assert not prove(obligation).is_equal


def test_lanes_of_whole_tables():
    with pytest.raises(ValueError, match=r"30 lanes for 3 columns .* give a multiple of 9"):
        verilog_text(dataclasses.replace(find_pe("tl2-lookup"), lanes=30))


def test_columns_that_fit_in_a_result():
    with pytest.raises(ValueError, match=r"4 columns of 16 .* up to 15 bits, or fewer columns"):
        verilog_text(dataclasses.replace(find_pe("tl2-lookup"), columns=4, lanes=12))
