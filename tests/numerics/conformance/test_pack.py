"""The shipped pack equals the results of the scalar definitions and of the array casts."""

from pathlib import Path

import numpy as np
import pytest
from _helpers.casts import encoded

from numerics import FORMATS, SCHEMES, FloatFormat
from numerics.conformance.pack import (
    DATA,
    format_arrays,
    packed_formats,
    packed_schemes,
    read,
    scheme_arrays,
    write_pack,
)


def same(a, b):
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


def test_the_pack_has_every_format_and_scheme():
    assert {p.stem for p in DATA.glob("formats/*.npz")} == set(packed_formats())
    assert {p.stem for p in DATA.glob("schemes/*.npz")} == set(packed_schemes())


@pytest.mark.parametrize("name", sorted(packed_formats()))
def test_array_casts_give_the_shipped_codes(name):
    stored, fmt = read(DATA / "formats" / f"{name}.npz"), FORMATS[name]
    x = stored["inputs"].view(np.float32)
    for array in stored.keys() - {"inputs"}:
        policy = array.removeprefix("codes").removeprefix("_")
        options = {"overflow": policy} if isinstance(fmt, FloatFormat) else {}
        assert np.array_equal(encoded(fmt, x, **options), stored[array]), array


@pytest.mark.parametrize("name", ["fp4_e2m1", "int4", "nf4", "e8m0"])
def test_definitions_give_the_shipped_codes(name):
    assert same(format_arrays(FORMATS[name]), read(DATA / "formats" / f"{name}.npz"))


@pytest.mark.parametrize("name", ["fp4", "mxfp4", "nvfp4", "int4-asym"])
def test_schemes_give_the_shipped_arrays(name):
    assert same(scheme_arrays(SCHEMES[name]), read(DATA / "schemes" / f"{name}.npz"))


@pytest.mark.slow
def test_the_whole_pack_is_what_is_made_now(tmp_path):
    write_pack(tmp_path)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.npz")}
    assert made == {path.relative_to(DATA) for path in DATA.rglob("*.npz")}
    for path in made:
        assert same(read(tmp_path / path), read(DATA / Path(path))), path
