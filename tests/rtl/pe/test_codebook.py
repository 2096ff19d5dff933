"""Loadable codebooks: what is read is what was loaded last, and wrong parts are noticed."""

import dataclasses
import inspect
import textwrap

import numpy as np
import pytest
from amaranth.hdl import Module

import rtl.pe.codebook.circuit
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.pe.codebook_dot import column_dot, integer_entries
from rtl.catalog import find_pe
from rtl.pe.codebook.circuit import Lane
from rtl.pe.codebook.element import _sources
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove
from rtl.verification.simulated import run_bench
from rtl.verilog.emit import verilog_text

PE = find_pe("aqlm-2x4")
COLUMNS = find_pe("vptq-2x4")


def test_sources_are_the_last_loads_before_a_beat():
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
        for others in (pe.random(3000, seed=1), pe.corners(), pe.typical(20, seed=0)):
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
    text = textwrap.dedent(inspect.getsource(rtl.pe.codebook.circuit.LoadedBooks._read))
    assert text.count("is_taken & beat.load[book]") == 1
    names = dict(vars(rtl.pe.codebook.circuit))
    exec(text.replace("is_taken & beat.load[book]", "beat.load[book]"), names)
    monkeypatch.setattr(rtl.pe.codebook.circuit.LoadedBooks, "_read", names["_read"])
    operands = PE.random(500, seed=64)
    run = run_bench(PE, operands)
    assert run.tests == 4 and run.failed > 0
    with CompiledPe(PE) as model:
        found, _ = model.run(operands, offers=np.array([1, 0, 0, 1]))
    assert not np.array_equal(found, PE.golden(operands))


def column_beats(codes, activations, books=None):
    """Return beats that load two books of entries, and then read columns of codes, for COLUMNS."""
    columns, rows = COLUMNS.columns, COLUMNS.rows
    loads = len(books[0]) if books is not None else 0
    reads = -(-len(codes) // columns)
    found = {
        "codes": np.zeros((1, 2 * loads + reads, columns, 2), np.int64),
        "activations": np.zeros((1, 2 * loads + reads, columns), np.int64),
        "load": np.zeros((1, 2 * loads + reads, 1), np.int64),
    }
    for beat in range(2 * loads):
        book, entry = divmod(beat, loads)
        found["codes"][0, beat, 0, book] = entry
        found["activations"][0, beat, :rows] = books[book][entry] & 255
        found["load"][0, beat] = 1 << book
    for at, (code, activation) in enumerate(zip(codes, activations, strict=True)):
        beat, column = divmod(at, columns)
        found["codes"][0, 2 * loads + beat, column] = code
        found["activations"][0, 2 * loads + beat, column] = activation & 255
    return {**found, "codes": found["codes"].reshape(1, -1, 2 * columns)}


def unpacked(result):
    return [(int(result) >> 24 * row & (1 << 24) - 1 ^ 1 << 23) - (1 << 23) for row in (0, 1)]


def groups_of_a_matrix_with_outliers(pair):
    """Return the operands of two rows of a VPTQ matrix, and what the rows come to.

    Outlier columns are a group of their own, for which the first book holds their codebook and the
    second one zeros.
    """
    random = np.random.default_rng(5)
    weight = random.normal(0.0, 1.0, (8, 40)).astype(np.float32)
    weight[:, 7] *= 20
    weight[:, 30] *= 9
    book = Codebook(length=2, bits=4)
    scheme = Vptq(main=book, residual_bits=4, outlier_codebook=book, outliers=0.05)
    q = scheme.quantize(weight)
    names = "codebook", "residual_codebook", "outlier_codebook"
    books, _ = integer_entries(np.stack([np.asarray(q.arrays[n], np.float32) for n in names]))
    main, residual, outlier = books
    of_columns = {
        n: np.asarray(q.arrays[n], np.int64)[pair]
        for n in ("codes", "residual_codes", "outlier_codes")
    }
    special = scheme.outlier_columns(40)
    assert special == 2 and set(np.asarray(q.arrays["permutation"])[:2]) == {7, 30}
    activations = random.integers(-128, 128, 40)
    first = np.stack([of_columns["outlier_codes"], np.zeros(special, np.int64)], axis=1)
    rest = np.stack([of_columns["codes"], of_columns["residual_codes"]], axis=1)
    groups = [
        column_beats(first, activations[:special], [outlier, np.zeros_like(outlier)]),
        column_beats(rest, activations[special:], [main, residual]),
    ]
    vectors = np.concatenate([outlier[first[:, 0]], main[rest[:, 0]] + residual[rest[:, 1]]])
    return groups, activations @ vectors


@pytest.mark.parametrize("pair", [0, 3])
def test_outlier_columns_are_a_group_of_their_own(pair):
    groups, wanted = groups_of_a_matrix_with_outliers(pair)
    results = [unpacked(COLUMNS.golden(group)[0]) for group in groups]
    assert np.sum(results, axis=0).tolist() == wanted.tolist()


@pytest.mark.slow
def test_outlier_columns_in_compiled_code():
    with CompiledPe(COLUMNS) as model:
        for pair in range(4):
            groups, wanted = groups_of_a_matrix_with_outliers(pair)
            results = [unpacked(model.run(group)[0][0]) for group in groups]
            assert np.sum(results, axis=0).tolist() == wanted.tolist()
