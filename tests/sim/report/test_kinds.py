import pytest

from sim.report.kinds import Scope, family, holds_source_grid, keeps_weights, roles, scope

from .conftest import make_point


@pytest.mark.parametrize(
    ("recipe", "kind", "quantized"),
    [
        ("fp4:g64", "FP", Scope.WEIGHTS),
        ("int4-asym", "INT", Scope.WEIGHTS),
        ("mxfp4-rceil", "MX", Scope.WEIGHTS),
        ("nf4:g32", "table", Scope.WEIGHTS),
        ("ternary", "ternary", Scope.WEIGHTS),
        ("w=nvfp4,a=int8", "NVFP4", Scope.INPUTS),
        ("w=int8,a=int8,kv=int8", "INT", Scope.BOTH),
        ("kv=int8", "INT", Scope.CACHE),
        ("W fp4_e2m1:g128:fp16 A int8:token KV fp8_e4m3:token", "FP", Scope.BOTH),
        ("int8 skip=*.down_proj", "INT", Scope.WEIGHTS),
        ("my <recipe>", "other", Scope.WEIGHTS),
        ("a model of mine", "other", Scope.WEIGHTS),
        ("", "other", Scope.WEIGHTS),
    ],
)
def test_recipes_are_told_apart_by_their_names(recipe, kind, quantized):
    assert (family(recipe), scope(recipe)) == (kind, quantized)


def test_roles_are_the_parts_of_a_name():
    assert roles("w=fp4:g64,a=int8,kv=mxfp4") == {"w": "fp4:g64", "a": "int8", "kv": "mxfp4"}


def test_float_weights_and_the_grid_of_the_source_are_seen_in_the_numbers():
    assert keeps_weights(make_point("kv=int8", 32.0, 0.001, None))
    assert not keeps_weights(make_point("int8", 8.1, 0.001, None))
    assert holds_source_grid(make_point("int4-floatmin", 5.0, 0.0, None, sqnr_db={"l": 135.0}))
    assert not holds_source_grid(make_point("kv=int8", 32.0, 0.0, None))
    assert holds_source_grid(make_point("int4-floatmin", 5.0, 0.0, None, sqnr_db={}))
    assert not holds_source_grid(make_point("float32", 32.0, 0.0, None))
