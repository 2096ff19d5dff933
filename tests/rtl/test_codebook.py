"""Loadable codebooks: what is read is what was loaded last, and wrong parts are noticed."""

import dataclasses
import inspect
import textwrap

import numpy as np
import pytest
from amaranth.hdl import Module

import rtl.codebook
import rtl.codebook_pe
from numerics.pe.codebook_dot import column_dot
from rtl.catalog import find_pe
from rtl.codebook import Lane
from rtl.codebook_pe import _sources
from rtl.compiled import CompiledPe
from rtl.emit import verilog_text
from rtl.proof import prove
from rtl.simulated import run_bench

PE = find_pe("aqlm-2x4")
COLUMNS = find_pe("vptq-2x4")


def test_sources_are_the_last_loads_before_a_beat(monkeypatch):
    # Groups are followed side by side in parts, which have to go on from one another.
    monkeypatch.setattr(rtl.codebook_pe, "SIDE_BY_SIDE", 16)
    random = np.random.default_rng(0)
    codes, reads = random.integers(0, 4, (2, 50, 6))
    loads = random.integers(0, 2, (50, 6))
    found, held = _sources(codes, loads, reads[..., None], 4).ravel(), [0] * 4
    for beat, (code, read) in enumerate(zip(codes.ravel(), reads.ravel(), strict=True)):
        assert found[beat] == held[read]
        if loads.ravel()[beat]:
            held[code] = beat + 1
    assert not _sources(codes, np.zeros((50, 6), int), reads[..., None], 4).any()


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


def test_golden_columns_are_the_definition_with_what_a_plain_memory_holds():
    operands = COLUMNS.random(40, seed=1)
    operands["codes"] = np.random.default_rng(5).integers(0, 16, operands["codes"].shape)
    books = [[[0] * 2 for _ in range(16)] for _ in range(2)]
    for group, expected in enumerate(COLUMNS.golden(operands).tolist()):
        total = [0, 0]
        for beat in range(operands["codes"].shape[1]):
            codes, numbers, load = (operands[n][group, beat].tolist() for n in operands)
            signed = [n - 256 if n > 127 else n for n in numbers]
            if load[0]:
                for book, code in enumerate(codes[:2]):
                    if load[0] >> book & 1:
                        books[book][code] = signed[:2]
                continue
            vectors = [codes[at : at + 2] for at in range(0, 8, 2)]
            added = column_dot(books, vectors, signed)
            total = [t + a for t, a in zip(total, added, strict=True)]
        assert expected == (total[1] & 0xFFFFFF) << 24 | total[0] & 0xFFFFFF


@pytest.mark.slow
@pytest.mark.parametrize("pe", [PE, COLUMNS], ids=lambda pe: pe.name)
def test_books_outlast_groups(pe):
    operands = pe.random(3000, seed=2)
    operands["codes"] = np.random.default_rng(3).integers(0, 16, operands["codes"].shape)
    with CompiledPe(pe) as model:
        assert np.array_equal(model.run(operands)[0], pe.golden(operands))
        for others in (pe.random(3000, seed=4), pe.corners(), pe.typical(20, seed=0)):
            assert np.array_equal(model.run(others)[0], pe.golden(others))


def test_corners_fill_the_result():
    found = PE.golden(PE.corners())
    assert found.max() == 2 * 128 * 128 * 128 and PE.result_shape.width == 24
    rows = COLUMNS.golden(COLUMNS.corners())
    for field in (rows & 0xFFFFFF, rows >> 24):
        assert ((field ^ 1 << 23) - (1 << 23)).max() == 2 * 128 * 128 * 128


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
    with pytest.raises(ValueError, match="16 lanes for 2 rows of 4 columns"):
        verilog_text(dataclasses.replace(COLUMNS, lanes=16))
    with pytest.raises(ValueError, match="3 rows and 2 columns a beat; an entry is loaded in"):
        verilog_text(dataclasses.replace(COLUMNS, rows=3, columns=2, lanes=6))
    with pytest.raises(ValueError, match="3 columns of 24 bits make results of 72 bits"):
        verilog_text(dataclasses.replace(COLUMNS, rows=3, lanes=12))


@pytest.mark.slow
def test_a_load_of_a_beat_that_is_not_taken_is_noticed(monkeypatch):
    text = textwrap.dedent(inspect.getsource(rtl.codebook.LoadedBooks._read))
    assert text.count("is_taken & beat.load[book]") == 1
    names = dict(vars(rtl.codebook))
    exec(text.replace("is_taken & beat.load[book]", "beat.load[book]"), names)
    monkeypatch.setattr(rtl.codebook.LoadedBooks, "_read", names["_read"])
    run = run_bench(PE, PE.random(500, seed=64))
    assert run.tests == 4 and run.failed > 0
