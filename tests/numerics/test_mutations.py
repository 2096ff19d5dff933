"""The tests of exactness fail when the arithmetic is a little wrong.

Each mutation is a mistake of other implementations. It replaces one function, and the tests in
other files that guard the function run again: they pass before and fail after.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import pytest
from _helpers import gold

from numerics import parse_scheme
from numerics.arithmetic import cast
from numerics.arithmetic.division import from_bits
from numerics.arithmetic.float32 import (
    BIAS,
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
)
from numerics.formats import E2M1, E4M3, E8M0, FORMATS, SCALE_DTYPES
from numerics.schemes import scales


def half_away_floats(fmt, magnitude):
    """``cast._round_significand`` with half a step added and the rest cut off."""
    field = magnitude >> MANTISSA_BITS
    significand = jnp.where(field > 0, magnitude & (HIDDEN_BIT - 1) | HIDDEN_BIT, magnitude)
    exponent = jnp.maximum(field, 1) - BIAS
    target = jnp.maximum(exponent, fmt.min_exponent)
    discarded = jnp.minimum(MANTISSA_BITS - fmt.mantissa_bits + target - exponent, 25)
    return (significand + (1 << (discarded - 1))) >> discarded, target


def half_away_integers(fmt, x):
    """``cast._round_integers`` with half a unit added to the magnitude and the rest cut off."""
    units = x / fmt.unit
    rounded = jnp.sign(units) * jnp.floor(jnp.abs(units) + 0.5)
    return jnp.clip(rounded, fmt.min / fmt.unit, fmt.max / fmt.unit)


def logarithm(x, scheme):
    """``scales._power_of_two_scales`` with the floor of a float32 logarithm; floor rule only."""
    amax = jnp.max(jnp.abs(x), axis=-1)
    exponent = jnp.floor(jnp.log2(amax)) - scheme.element.max_exponent
    codes = jnp.clip(exponent + E8M0.bias, 0, E8M0.nan_code - 1).astype(jnp.int32)
    bits = jax.lax.bitcast_convert_type(amax, jnp.int32) & MAGNITUDE_MASK
    codes = jnp.where(bits >= INFINITY_BITS, E8M0.nan_code, codes)
    return jax.lax.bitcast_convert_type(codes.astype(jnp.uint8), SCALE_DTYPES[E8M0])


def reciprocal(x, scale):
    """``division.divide`` as a product with the reciprocal."""
    return x * (1 / jnp.asarray(scale, jnp.float32))


def load_file(name: str) -> ModuleType:
    path = next(Path(__file__).parent.glob(f"*/test_{name}.py"))
    spec = importlib.util.spec_from_file_location(f"mutated_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checks() -> dict[str, Callable[[], None]]:
    """Tests of other files, as functions without arguments."""
    casts, tensors, blocks = load_file("cast"), load_file("tensor"), gold.block_sets()

    def of_cast(fmt):
        casts.test_every_16_bit_input_has_the_code_of_ml_dtypes(fmt, casts.ALL_BFLOAT16)

    def of_scheme(text):
        tensors.test_scales_codes_and_values_equal_the_reference(text, blocks)

    return {
        "E2M1": lambda: of_cast(E2M1),
        "E4M3": lambda: of_cast(E4M3),
        **{text: lambda text=text: of_scheme(text) for text in ("int4", "mxfp4", "nvfp4")},
    }


@pytest.fixture
def fresh():
    """Clear compiled programs before and after the test."""
    jax.clear_caches()
    yield
    jax.clear_caches()


def passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", ["E2M1", "E4M3", "int4", "mxfp4", "nvfp4"])
def test_every_check_passes_as_it_is(name, checks):
    assert passes(checks[name])


@pytest.mark.parametrize(
    ("module", "function", "mutation", "caught_by"),
    [
        (cast, "_round_significand", half_away_floats, ("E2M1", "E4M3", "mxfp4", "nvfp4")),
        (cast, "_round_integers", half_away_integers, ("int4",)),
        (scales, "_power_of_two_scales", logarithm, ("mxfp4",)),
        (scales, "divide", reciprocal, ("int4", "nvfp4")),
    ],
    ids=["half-away-floats", "half-away-integers", "logarithm", "reciprocal"],
)
def test_mutations_are_caught(module, function, mutation, caught_by, checks, fresh, monkeypatch):
    monkeypatch.setattr(module, function, mutation)
    assert not [name for name in caught_by if passes(checks[name])]


# A mutation that is wrong everywhere would be caught by anything.
def test_mutations_are_right_but_for_what_they_are_named_after():
    x = jnp.float32([0.3, 0.6, 1.1, 2.4, 2.6, 4.9, 5.1])
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    for found, wanted in zip(
        half_away_floats(E2M1, bits), cast._round_significand(E2M1, bits), strict=True
    ):
        assert found.tolist() == wanted.tolist()
    assert half_away_integers(FORMATS["int4"], x).tolist() == [0, 1, 1, 2, 3, 5, 5]
    assert reciprocal(x, 4.0).tolist() == (x / 4).tolist()
    powers = 1.5 * from_bits(jnp.arange(100, 150) << MANTISSA_BITS)[:, None]
    scheme = parse_scheme("mxfp4")
    wanted = scales._power_of_two_scales(powers, scheme)
    assert logarithm(powers, scheme).tolist() == wanted.tolist()
