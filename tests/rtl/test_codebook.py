"""Loadable codebooks: what is read is what was loaded last, and wrong parts are noticed."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Module

from rtl.catalog import find_pe
from rtl.codebook import Lane
from rtl.codebook_pe import _sources
from rtl.compiled import CompiledPe
from rtl.emit import verilog_text
from rtl.proof import prove

PE = find_pe("aqlm-2x4")


def test_sources_are_the_last_loads_before_a_beat():
    random = np.random.default_rng(0)
    codes, loads = random.integers(0, 4, 200), random.integers(0, 2, 200)
    found, held = _sources(codes, loads), [0] * 4
    for beat, code in enumerate(codes.tolist()):
        assert found[beat] == held[code]
        if loads[beat]:
            held[code] = beat + 1
    assert not _sources(codes, np.zeros(200, int)).any()


def test_golden_is_the_sum_with_what_a_plain_memory_holds():
    operands = PE.random(50, seed=1)
    books = [[[0] * 8 for _ in range(16)] for _ in range(2)]
    for group, expected in enumerate(PE.golden(operands).tolist()):
        total = 0
        for beat in range(operands["codes"].shape[1]):
            codes, numbers, load = (operands[n][group, beat].tolist() for n in operands)
            signed = [n - 256 if n > 127 else n for n in numbers]
            for book, code in enumerate(codes):
                if load[0] >> book & 1:
                    books[book][code] = signed
                elif not load[0]:
                    entry = books[book][code]
                    total += sum(w * a for w, a in zip(entry, signed, strict=True))
        assert total == expected


@pytest.mark.slow
def test_books_outlast_groups():
    operands = PE.random(3000, seed=2)
    operands["codes"] = np.random.default_rng(3).integers(0, 16, operands["codes"].shape)
    with CompiledPe(PE) as model:
        assert np.array_equal(model.run(operands)[0], PE.golden(operands))
        for others in (PE.random(3000, seed=4), PE.corners(), PE.typical(20, seed=0)):
            assert np.array_equal(model.run(others)[0], PE.golden(others))


def test_corners_fill_the_result():
    found = PE.golden(PE.corners())
    assert found.max() == 2 * 128 * 128 * 128 and PE.result_shape.width == 24


class OneBook(Lane):
    """A lane that forgets its second book."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.product.eq(self.entries[0] * self.activation)
        return m


def test_a_forgotten_book_is_refuted():
    (obligation,) = PE.obligations()
    assert not prove(dataclasses.replace(obligation, circuit=lambda: OneBook(2))).is_equal


def test_lanes_are_those_of_a_vector():
    with pytest.raises(ValueError, match="16 lanes; vectors have 8 weights"):
        verilog_text(dataclasses.replace(PE, lanes=16))
