"""Searched formats and scales against their definition and ANT's and LLM-FP4's vectors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, fake_quantize, quantize
from numerics.mixtures.searched import Searched, search_row
from numerics.ternary.reference import tree_sum

RNG = np.random.default_rng(5)
X = np.float32(RNG.standard_normal((6, 20)) * np.exp2(RNG.integers(-8, 8, (6, 1))))
X[1] = 0
X[2, 3], X[3, 4] = 1e-42, -0.0
X[4] *= np.float32(2.0**118)
A = [0.0123, -0.0345, 0.0056, 0.0789, -0.0211, 0.0467, -0.0602, 0.0011]
B = [0.12, -0.08, 0.05, 0.61, -0.11, 0.02, -0.29, 0.21]
ANT = SCHEMES["ant4"], SCHEMES["ant3"]
FP = SCHEMES["llm-fp4"]


def only(scheme, name):
    """Return the scheme with one of its candidates."""
    found = tuple(fmt for fmt in scheme.candidates if fmt.name == name)
    return Searched(label="one", candidates=found, trials=scheme.trials)


@pytest.mark.parametrize(
    ("scheme", "name", "mse", "alphas", "codes"),
    [
        (ANT[0], "ant_int4", 5.097730900160968e-4, [0.0804779976606369, 0.7075999975204468],
         [[1, -3, 0, 7, -2, 4, -5, 0], [1, -1, 0, 6, -1, 0, -3, 2]]),
        (ANT[0], "flint4", 1.6277852409984916e-4, [0.07179900258779526, 0.5978000164031982],
         [[3, -8, 1, 16, -4, 8, -16, 0], [3, -2, 1, 16, -3, 1, -8, 6]]),
        (ANT[1], "ant_int3", 3.6028590984642506e-3, None, None),
        (ANT[1], "flint3", 1.7915398348122835e-3, None,
         [[1, -2, 0, 4, -1, 2, -4, 0], [1, -1, 0, 4, -1, 0, -2, 1]]),
    ],
)  # fmt: skip
def test_vectors_of_ants_code(scheme, name, mse, alphas, codes):
    one = only(scheme, name)
    q = quantize(jnp.float32([A, B]), one)
    (fmt,) = one.candidates
    if codes:
        assert [[fmt.decode(int(c)) for c in row] for row in q.codes] == codes
    if alphas:
        assert np.asarray(q.scales) * fmt.max == pytest.approx(alphas, rel=2e-7)
    errors = (np.asarray(q.dequantize(), np.float64) - np.float32([A, B])) ** 2
    assert errors.mean(axis=1).sum() == pytest.approx(mse, rel=1e-4)


def test_ant_takes_flint_for_both_vectors():
    for scheme in ANT:
        q = quantize(jnp.float32([A, B]), scheme)
        assert scheme.candidates[int(q.arrays["selector"][0])].name.startswith("flint")


WIDER = [
    pytest.param(SCHEMES[name], marks=pytest.mark.slow)
    for name in ("ant4", "ant5", "llm-fp6", "llm-fp8")
]


@pytest.mark.parametrize("scheme", [FP, *WIDER], ids=lambda scheme: scheme.name)
def test_scales_selector_and_codes_equal_the_definition(scheme):
    scheme = dataclasses.replace(scheme, trials=scheme.trials[::12])
    q = quantize(jnp.asarray(X), scheme)
    found = [
        [search_row(row.tolist(), fmt, scheme.trials) for row in X] for fmt in scheme.candidates
    ]
    totals = [tree_sum([error for _, error in rows]) for rows in found]
    selector = int(np.argmin(totals))
    fmt = scheme.candidates[selector]
    scales = np.float32([scale for scale, _ in found[selector]])
    assert int(q.arrays["selector"][0]) == selector
    assert np.array_equal(np.asarray(q.scales), scales)
    flushed = np.where(abs(X) < 2.0**-126, 0, X)
    codes = [
        [fmt.encode(float(x / s)) for x in row] for row, s in zip(flushed, scales, strict=True)
    ]
    values = [
        [np.float32(fmt.decode(c)) * s for c in row] for row, s in zip(codes, scales, strict=True)
    ]
    assert np.array_equal(np.asarray(q.dequantize()), np.float32(values))
    for trial in X[[0, 5]], X[[1]]:
        assert np.array_equal(
            fake_quantize(jnp.asarray(trial), scheme),
            quantize(jnp.asarray(trial), scheme).dequantize(),
        )


@pytest.mark.slow
def test_errors_are_least_over_the_trials():
    scheme = only(FP, "fp4_e2m1")
    x = X[[0, 5]]
    best = ((np.asarray(fake_quantize(jnp.asarray(x), scheme)) - x) ** 2).sum(axis=1)
    for factor in scheme.trials[::24]:
        fixed = Searched(label="fixed", candidates=scheme.candidates, trials=(factor,))
        found = ((np.asarray(fake_quantize(jnp.asarray(x), fixed)) - x) ** 2).sum(axis=1)
        assert (best <= found * (1 + 1e-5)).all()


def test_each_kind_of_numbers_gets_its_format():
    even = np.linspace(-7, 7, 64, dtype=np.float32)[None]
    powers = np.float32([[2.0 ** (i % 7) * (-1) ** i for i in range(64)]])
    for x, name in ((even, "fp4_e1m2"), (powers, "fp4_e3m0")):
        q = quantize(jnp.asarray(x), FP)
        assert FP.candidates[int(q.arrays["selector"][0])].name == name


def test_results_are_the_same_however_they_are_run():
    expected = np.asarray(fake_quantize(jnp.asarray(X), FP))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, FP) + 0.0) * 1.0)
    assert np.array_equal(np.asarray(larger(jnp.asarray(X))), expected)
    mapped = jax.vmap(lambda x: fake_quantize(x, FP))(jnp.asarray(np.stack([X, -X])))
    assert np.array_equal(np.asarray(mapped[0]), expected)


def test_a_row_with_nan_or_infinity_is_poisoned():
    x = X.copy()
    x[0, 0], x[5, 9] = np.nan, np.inf
    q = quantize(jnp.asarray(x), FP)
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad[[0, 5]].all() and not bad[1:5].any() and not np.asarray(q.codes)[[0, 5]].any()


def test_storage_and_bad_searches():
    assert FP.bits_per_weight((64, 256)) == 4 + 32 / 256 + 2 / (64 * 256)
    with pytest.raises(ValueError, match="1 to 8 candidates and some trials, not 0 and 1"):
        Searched(label="none", candidates=(), trials=(1.0,))


def test_llm_fp_chooses_among_the_papers_formats_and_all_codes_are_numbers():
    names = {bits: [f.name for f in SCHEMES[f"llm-fp{bits}"].candidates] for bits in (4, 6, 8)}
    assert names[4] == ["fp4_e3m0", "fp4_e2m1", "fp4_e1m2"]
    assert names[6] == [f"fp6_e{e}m{5 - e}" for e in (5, 4, 3, 2, 1)]
    assert names[8] == [f"fp8_e{e}m{7 - e}" for e in (5, 4, 3, 2, 1)]
    assert [fmt.max for fmt in SCHEMES["llm-fp8"].candidates[:2]] == [114688, 480]
    assert SCHEMES["llm-fp8"].layout((4, 64))[2].bits == 3


def test_ant5_has_the_tables_of_its_code():
    integers, powers, flint = SCHEMES["ant5"].candidates
    assert integers.table == tuple(range(-16, 16))
    assert powers.table[16:] == tuple(2.0**k for k in range(15))
    assert flint.table[16:] == (*range(1, 9), 10, 12, 14, 16, 24, 32, 64)
