"""Schemes against the libraries' results for the test tensors, frozen in ``tests/golden``."""

from pathlib import Path

import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.conventions.entries import ENTRIES
from numerics.formats import E2M1

SETS = ("normal", "bf16", "tails", "ties", "zeros", "tiny")
INT_GROUP = 32
E2M1_VALUES = np.array(E2M1.values, np.float32)


@pytest.fixture(scope="module")
def oracles() -> dict[str, np.ndarray]:
    path = Path(__file__).parents[2] / "golden" / "numerics" / "oracles.npz"
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def of(oracles, name: str, scheme: str) -> dict[str, np.ndarray]:
    prefix = f"{name}/{scheme}/"
    return {k.removeprefix(prefix): a for k, a in oracles.items() if k.startswith(prefix)}


def same_bits(actual, wanted) -> bool:
    return np.array_equal(np.float32(actual).view(np.uint32), np.float32(wanted).view(np.uint32))


@pytest.mark.parametrize("scheme", ["int4-ct", "int4-ct-asym", "int8-ct", "int8-ct-asym"])
def test_integers_of_compressed_tensors(oracles, scheme):
    mask = (1 << int(scheme[3])) - 1
    for name in SETS:
        theirs = of(oracles, name, scheme)
        ours = quantize(oracles[f"{name}/x/x"], ENTRIES[scheme][0].with_group_size(INT_GROUP))
        assert same_bits(ours.scales, theirs["scales"])
        assert np.array_equal(ours.codes, theirs["codes"].astype(int) & mask)
        assert same_bits(ours.dequantize(), theirs["values"])
        if ours.zero_points is not None:
            assert np.array_equal(ours.zero_points, theirs["zero_points"].astype(int) & mask)


def test_nvfp4_of_torchao(oracles):
    for name in SETS:
        theirs = of(oracles, name, "nvfp4-torchao")
        ours = quantize(oracles[f"{name}/x/x"], ENTRIES["nvfp4-torchao"][0])
        assert np.array_equal(np.asarray(ours.scales).view(np.uint8), theirs["scales"])
        assert np.array_equal(ours.codes, theirs["codes"])
        assert same_bits(ours.tensor_scale, theirs["top"])


def test_nvfp4_of_compressed_tensors(oracles):
    for name in SETS:
        theirs = of(oracles, name, "nvfp4-ct")
        ours = quantize(oracles[f"{name}/x/x"], ENTRIES["nvfp4-ct"][0])
        assert np.array_equal(np.asarray(ours.scales).view(np.uint8), theirs["scales"])
        assert same_bits(ours.arrays["global_scale"], theirs["top"][0])
        elements = np.float32([E2M1.decode(code) for code in range(16)])[np.asarray(ours.codes)]
        assert same_bits(elements, theirs["elements"])
        assert same_bits(ours.dequantize(), theirs["values"])


def test_nvfp4_of_modelopt(oracles):
    for name in SETS:
        theirs = of(oracles, name, "nvfp4-modelopt")
        ours = quantize(oracles[f"{name}/x/x"], ENTRIES["nvfp4-modelopt"][0])
        assert np.array_equal(np.asarray(ours.scales).view(np.uint8), theirs["scales"])
        assert np.array_equal(ours.codes, theirs["codes"])
        assert same_bits(ours.tensor_scale, theirs["top"])
        assert same_bits(ours.dequantize(), theirs["values"])


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_4_bits_of_bitsandbytes(oracles, kind):
    for name in (*SETS, "many"):
        theirs = of(oracles, name, kind)
        x = oracles["many/nf4-dq/x" if name == "many" else f"{name}/x/x"]
        ours = quantize(x, ENTRIES[f"{kind}-bnb"][0])
        assert same_bits(np.ravel(ours.scales), theirs["scales"])
        assert np.array_equal(ours.codes, theirs["codes"])
        assert same_bits(ours.dequantize(), theirs["values"])


def test_quotients_and_reciprocals_make_other_nf4_codes(oracles):
    x, theirs = oracles["many/nf4-dq/x"], oracles["many/nf4/codes"]
    ours = quantize(x, parse_scheme("nf4:g64:fp32"))
    assert 100 < (np.asarray(ours.codes) != theirs).sum() < x.size / 20


def test_mxfp4_of_modelopt_rounds_ties_toward_zero_and_zero_to_minus_zero(oracles):
    # modelopt's scale exponent is ceil(log2(amax / 6)); ours is floor(log2(amax)) - 2, or rceil.
    x, theirs = oracles["ties/x/x"], of(oracles, "ties", "mxfp4-modelopt")
    ours = quantize(x, parse_scheme("mxfp4-rceil"))
    assert np.array_equal(np.ravel(ours.scales).view(np.uint8), np.ravel(theirs["scales"]))
    codes = np.asarray(ours.codes)
    differs = codes != theirs["codes"]
    values, other = (np.abs(E2M1_VALUES[c]) for c in (codes, theirs["codes"]))
    is_tie = np.isin(np.abs(x), [0.75, 1.75, 3.5])
    assert (theirs["codes"][x == 0] == 8).all()
    assert (other[differs & (x != 0)] < values[differs & (x != 0)]).all()
    assert np.array_equal(differs & (x != 0), is_tie)


# The test tensors are useful only if the libraries disagree on them.
def test_the_sets_tell_the_libraries_apart(oracles):
    def codes(name, scheme):
        return np.asarray(quantize(oracles[f"{name}/x/x"], ENTRIES[scheme][0]).codes)

    assert (codes("tails", "nvfp4-torchao") != codes("tails", "nvfp4-modelopt")).any()
    assert (codes("bf16", "nvfp4-ct") != codes("bf16", "nvfp4-modelopt")).any()
    assert (codes("zeros", "nvfp4-torchao") != codes("zeros", "nvfp4-modelopt")).any()
