"""The array modules of schemes: their functions, and how a new scheme names its module."""

import inspect
import typing
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, Field, QuantizedTensor, Scheme, fake_quantize, quantize
from numerics.schemes.scheme import array_code

KINDS = {type(scheme): scheme for scheme in SCHEMES.values()}
BYTE = np.dtype(np.uint8)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_scheme_names_a_module_with_the_functions_of_array_code(kind):
    code = array_code(kind.arrays)
    expected = {"quantize": ["x", "scheme"], "dequantize": ["q"]}
    if hasattr(code, "fake_quantize"):
        expected["fake_quantize"] = ["x", "scheme"]
    for name, arguments in expected.items():
        function = inspect.unwrap(getattr(code, name))
        hints = typing.get_type_hints(function)
        assert list(inspect.signature(function).parameters) == arguments
        if "scheme" in arguments:
            takes = hints["scheme"]
            assert issubclass(kind, typing.get_args(takes) or takes)
        else:
            assert hints["q"] is QuantizedTensor


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_schemes_have_no_array_methods_of_their_own(kind):
    assert not {"quantize", "dequantize", "fake_quantize"} & set(vars(kind))


# All that a new scheme needs: a class and two functions.
@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Scheme, arrays=__name__):
    """A scheme that stores signs only."""

    @property
    def name(self) -> str:
        return "signed"

    def layout(self, shape):
        return (Field(name="codes", shape=shape, bits=1, dtype=BYTE, is_index=True),)

    def check_storable(self, shape):
        if shape[-1] > 4:
            raise ValueError(f"{self.name} has rows of up to 4 values, not {shape[-1]}")


def _quantize(x, scheme):
    codes = (x < 0).astype(jnp.uint8)
    return QuantizedTensor(arrays={"codes": codes}, scheme=scheme, shape=x.shape)


def _dequantize(q):
    return 1 - 2 * q.codes.astype(jnp.float32)


@pytest.fixture
def signed(monkeypatch):
    monkeypatch.setattr(
        "numerics.schemes.scheme.import_module",
        lambda name: type("Module", (), {"quantize": _quantize, "dequantize": _dequantize}),
    )
    array_code.cache_clear()
    yield Signed()
    array_code.cache_clear()


def test_a_scheme_of_its_own_needs_a_class_and_two_functions(signed):
    x = jnp.float32([[1.5, -2.0]])
    assert quantize(x, signed).codes.tolist() == [[0, 1]]
    assert fake_quantize(x, signed).tolist() == [[1.0, -1.0]]
    assert signed.bits_per_weight((2, 4)) == 1.0


@pytest.mark.parametrize("do", [quantize, fake_quantize])
def test_what_a_scheme_cannot_store_is_refused_before_its_array_code_runs(signed, do):
    with pytest.raises(ValueError, match=r"^signed has rows of up to 4 values, not 5$"):
        do(jnp.zeros((1, 5), jnp.float32), signed)


def test_a_scheme_without_an_array_module_is_refused():
    with pytest.raises(TypeError, match=r"^Bare names no array module: class Bare\(Scheme, arrays"):
        type("Bare", (Scheme,), {})
