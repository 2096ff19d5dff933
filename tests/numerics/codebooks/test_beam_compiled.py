"""Compiled loops of beam search: codes equal to NumPy's, or a fallback to NumPy."""

import shutil

import numpy as np
import pytest

from numerics.codebooks import beam_compiled, beam_one
from numerics.codebooks.beam import beam_search, decode, losses
from numerics.codebooks.beam_compiled import _is_for_loops as is_for_loops
from numerics.codebooks.beam_compiled import best_codes, codes_by_loops
from numerics.native.compiled import COMPILERS

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler"
)
TYPES = [np.float32, np.float64]


def layer(dtype, *, rows=40, groups=6, d=4, codebooks=2, entries=16, exact=False):
    """Return residual, codes and keyword arguments: small integers or normal random numbers."""
    random = np.random.default_rng(0)

    def numbers(*shape, most):
        found = random.integers(-most, most + 1, shape) if exact else random.standard_normal(shape)
        return found.astype(dtype)

    columns = groups * d
    inputs = numbers(2 * columns, columns, most=1)
    given = {
        "codebooks": numbers(codebooks, entries, d, most=2),
        "scales": numbers(rows, most=2),
        "hessian": inputs.T @ inputs / dtype(1 if exact else len(inputs)),
    }
    codes = random.integers(0, entries, (rows, groups, codebooks))
    return numbers(rows, columns, most=9), codes, given


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "shape",
    [
        {"rows": 1, "groups": 1, "d": 1, "codebooks": 1, "entries": 1},
        {"rows": 33, "groups": 7, "d": 3, "codebooks": 3},
        {"rows": 70, "entries": 256, "d": 8},
        {"rows": 31, "codebooks": 1, "entries": 4096, "d": 8, "groups": 3},
        {"rows": 64, "d": 16, "groups": 3},
    ],
    ids=lambda shape: "-".join(map(str, shape.values())),
)
def test_codes_are_those_of_numpy_where_sums_are_exact(dtype, shape):
    left, codes, given = layer(dtype, exact=True, **shape)
    # All sums are integers, the largest of scale^2 * curve: far below 2^24.
    largest = 4 * 4 * given["codebooks"].shape[2] ** 2 * np.abs(given["hessian"]).max()
    assert largest < 2**22
    # Entries of few distinct values often have equal losses: the first entry wins.
    expected = beam_one.best_codes(left, codes, **given)
    found = codes_by_loops(left, codes, **given)
    assert np.array_equal(found, expected)
    assert found.dtype == codes.dtype


@pytest.mark.parametrize("dtype", TYPES)
def test_codes_are_as_good_as_those_of_numpy_where_sums_are_rounded(dtype):
    left, codes, given = layer(dtype, rows=100, groups=40, d=8, entries=64)
    expected = beam_one.best_codes(left, codes, **given)
    found = codes_by_loops(left, codes, **given)
    # Choices between entries of nearly equal loss may differ, and then later choices too.
    assert (found != expected).mean() < 1e-3
    weights = left + decode(codes, given["codebooks"], given["scales"])

    def total(codes):
        values = decode(codes, given["codebooks"], given["scales"])
        return losses(weights, values, given["hessian"]).sum(dtype=float)

    assert total(found) == pytest.approx(total(expected), rel=1e-6)
    assert total(found) < total(codes)


def test_arguments_stay_as_they_are():
    left, codes, given = layer(np.float32)
    before = [array.copy() for array in (left, codes, *given.values())]
    codes_by_loops(left, codes, **given)
    assert all(map(np.array_equal, before, (left, codes, *given.values())))


def test_a_hessian_need_not_be_symmetric_nor_any_array_contiguous():
    left, codes, given = layer(np.float64, exact=True)
    given["hessian"][1, 5] += 3
    expected = beam_one.best_codes(left, codes, **given)
    given = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in given.items()}
    left, codes = left.T.copy().T, codes[::-1].copy()[::-1].astype(np.int8)
    assert np.array_equal(codes_by_loops(left, codes, **given), expected)


def test_other_rows_threads_and_panels_do_not_matter(monkeypatch):
    left, codes, given = layer(np.float32, rows=200, d=8)
    expected = codes_by_loops(left, codes, **given)
    few = slice(3, 9)
    only = given | {"scales": given["scales"][few]}
    assert np.array_equal(codes_by_loops(left[few], codes[few], **only), expected[few])
    monkeypatch.setattr(beam_compiled, "PANEL_BYTES", 1)
    for count in (None, 1, 3, 64):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        assert np.array_equal(codes_by_loops(left, codes, **given), expected)


@pytest.mark.parametrize("name", ["left", "codebooks", "scales", "hessian"])
@pytest.mark.parametrize("number", [np.nan, np.inf, 1e38])
def test_numpy_finds_codes_where_sums_may_not_be_finite(name, number, monkeypatch):
    monkeypatch.setattr(beam_compiled, "WORTHWHILE", 0)
    left, codes, given = layer(np.float32)
    (given | {"left": left})[name].flat[5] = number
    with np.errstate(all="ignore"):
        assert codes_by_loops(left, codes, **given) is None
        expected = beam_one.best_codes(left, codes, **given)
        assert np.array_equal(best_codes(left, codes, **given), expected)


def test_numpy_finds_codes_that_loops_are_not_for(monkeypatch):
    left, codes, given = layer(np.float32)
    assert codes_by_loops(left.astype(float), codes, **given) is None
    assert codes_by_loops(left, codes - 1, **given) is None
    assert codes_by_loops(left, codes + 1, **given) is None
    half = {name: array.astype(np.float16) for name, array in given.items()}
    assert codes_by_loops(left.astype(np.float16), codes, **half) is None
    long, codes_of_long, rest = layer(np.float32, d=17)
    assert codes_by_loops(long, codes_of_long, **rest) is None


def test_arrays_that_do_not_fit_are_not_for_loops():
    left, codes, given = layer(np.float32)
    smaller = {"scales": slice(9), "codebooks": slice(1), "hessian": (slice(20), slice(20))}
    for name, part in smaller.items():
        assert is_for_loops(left, codes, **given | {name: given[name][part]}) is False
    assert is_for_loops(left[:, 1:], codes, **given) is False
    assert is_for_loops(left[:0], codes[:0], **given | {"scales": given["scales"][:0]}) is False
    assert is_for_loops(left, codes, **given)


def test_without_loops_numpy_finds_the_codes(monkeypatch):
    monkeypatch.setattr(beam_compiled, "WORTHWHILE", 0)
    left, codes, given = layer(np.float32, exact=True)
    expected = best_codes(left, codes, **given)
    monkeypatch.setattr(beam_compiled, "library", lambda *_, **__: None)
    assert codes_by_loops(left, codes, **given) is None
    assert np.array_equal(best_codes(left, codes, **given), expected)


def test_little_work_needs_no_compiler(monkeypatch):
    left, codes, given = layer(np.float32)
    monkeypatch.setattr(beam_compiled, "library", None)
    best_codes(left, codes, **given)


def test_a_beam_of_one_takes_the_loops_where_there_is_much_work(monkeypatch):
    calls = []

    def loops(*arrays, **given):
        calls.append(given)
        return codes_by_loops(*arrays, **given)

    left, codes, given = layer(np.float32, rows=256, groups=32, entries=256, d=8)
    monkeypatch.setattr(beam_compiled, "codes_by_loops", loops)
    found = beam_search(left, codes, width=1, **given)
    assert len(calls) == 1
    assert losses(left, decode(found, given["codebooks"], given["scales"]), given["hessian"]).sum()
