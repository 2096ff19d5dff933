"""Quantized tensors: the arrays of a tensor under a scheme; quantization and dequantization."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import DictKey
from jaxtyping import Float32, Shaped

from numerics.arithmetic.cast import check_float32
from numerics.schemes.scheme import Scheme, StorageKind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedTensor:
    """The arrays of ``scheme.layout(shape)`` by name; a JAX pytree.

    Codes of fewer than 8 bits have a byte each. In an element scheme ``value = element(code) *
    scale``, or ``(code - zero_point) * scale``, or ``code * scale + minimum``; under a second level
    of scales, ``scale`` is the rounded product of both levels.
    """

    arrays: Mapping[str, Array]
    scheme: Scheme
    #: Shape of the tensor.
    shape: tuple[int, ...]

    @property
    def codes(self) -> Array:
        """Code of each value, or of each vector."""
        return self.arrays["codes"]

    @property
    def scales(self) -> Array:
        """Scale of each group, in the array type of the scale format."""
        return self.arrays["scales"]

    @property
    def zero_points(self) -> Array | None:
        """Code that represents zero in each group, if the scheme has zero points."""
        return self.arrays.get("zero_points")

    @property
    def minimums(self) -> Array | None:
        """Least value of each group in the format of the scale, if the scheme has minimums."""
        return self.arrays.get("minimums")

    @property
    def tensor_scale(self) -> Array | None:
        """Second level of scales, for the tensor or each token, if the scheme has one."""
        return self.arrays.get("tensor_scale")

    def dequantize(self) -> Float32[Array, "*shape"]:
        """Return the numbers that the arrays stand for."""
        return self.scheme.dequantize(self)

    def bits_per_weight(self, *, kind: StorageKind = "full") -> float:
        """Return the storage of one value; see :meth:`Scheme.bits_per_weight`."""
        return self.scheme.bits_per_weight(self.shape, kind=kind)


#: The static part of the pytree: array names, scheme, shape.
_Static = tuple[tuple[str, ...], Scheme, tuple[int, ...]]


def _flatten(q: QuantizedTensor) -> tuple[tuple[tuple[DictKey, Any], ...], _Static]:
    names = tuple(q.arrays)
    return tuple((DictKey(name), q.arrays[name]) for name in names), (names, q.scheme, q.shape)


def _unflatten(static: _Static, leaves: Iterable[Any]) -> QuantizedTensor:
    """Rebuild a tensor; types are not checked, because JAX may pass placeholders for arrays."""
    names, scheme, shape = static
    q = object.__new__(QuantizedTensor)
    object.__setattr__(q, "arrays", dict(zip(names, leaves, strict=True)))
    object.__setattr__(q, "scheme", scheme)
    object.__setattr__(q, "shape", shape)
    return q


jax.tree_util.register_pytree_with_keys(QuantizedTensor, _flatten, _unflatten)


def quantize(x: Shaped[Array | np.ndarray, "*shape"], scheme: Scheme) -> QuantizedTensor:
    """Quantize float32 numbers along the last axis.

    Examples
    --------
    >>> from numerics import parse_scheme
    >>> q = quantize(jnp.float32([[1.0, -7.0, 0.4, 2.5]]), parse_scheme("int4:g4:fp32"))
    >>> q.codes.tolist(), q.scales.tolist(), q.dequantize().tolist()
    ([[1, 9, 0, 2]], [[1.0]], [[1.0, -7.0, 0.0, 2.0]])
    """
    _check(x)
    return scheme.quantize(jnp.asarray(x))


def fake_quantize(
    x: Shaped[Array | np.ndarray, "*shape"], scheme: Scheme
) -> Float32[Array, "*shape"]:
    """Return ``quantize(x, scheme).dequantize()``, bit for bit, in fewer steps if possible.

    Examples
    --------
    >>> from numerics import parse_scheme
    >>> fake_quantize(jnp.float32([[1.0, -6.0, 0.4, 2.6]]), parse_scheme("fp4:g4")).tolist()
    [[1.0, -6.0, 0.5, 3.0]]
    """
    _check(x)
    return scheme.fake_quantize(jnp.asarray(x))


def _check(x: Array | np.ndarray) -> None:
    check_float32(x)
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x of shape {x.shape} has no values along a last axis to quantize")
