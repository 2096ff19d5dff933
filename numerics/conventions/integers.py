"""Integer schemes by the convention of a library: scale, zero point and order of rounding."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from numerics.schemes.family import NUMBER, Family
from numerics.schemes.scheme import Field, Scheme

BYTE = np.dtype(np.uint8)
BITS = range(2, 9)


class Convention(StrEnum):
    """Rule that maps a group to integers of n bits; ``half = 2^(n-1)``, ``top = 2^n - 1``.

    Scales are float32 unless stated otherwise, ``z`` is the zero point, ``low`` and ``high`` are
    the least and largest value, extended to contain 0 except in AWQ.
    """

    #: ``s = max(amax, 1e-5) / (half - 1)``, so that codes are at most ``half - 1``; SmoothQuant.
    SMOOTHQUANT = "smoothquant"
    #: ``s = max(high - low, 1e-5) / top`` of the unextended range, which may not contain 0,
    #: ``z = clip(-rint(low / s), 0, top)``, ``code = clip(rint(x / s) + z, 0, top)``; AWQ.
    AWQ = "awq"
    #: ``s = (high - low) / top``, codes as in AWQ; a group of zeros has the range -1 to 1; GPTQ.
    GPTQ = "gptq"
    #: As GPTQ with ``z = half``, ``high = amax`` and ``low = -amax``, or 0 if no value is negative,
    #: in which case values above ``7 / 15 * amax`` (n = 4) saturate; GPTQ with ``--sym``.
    GPTQ_SYM = "gptq-sym"
    #: ``s = max(amax, 1e-5) / (half - 1)``, codes from ``-half``; the weights of QuaRot.
    QUAROT = "quarot"
    #: ``s = 0.9 * amax / (half - 1)``, codes from ``-half``, scale 1 for zeros; the activations of
    #: QuaRot.
    QUAROT_ACT = "quarot-act"
    #: As GPTQ with 0.95 of the range; the KV cache of QuaRot.
    QUAROT_KV = "quarot-kv"
    #: ``s = amax / (top / 2)``, codes from ``-half``, scale 2^-23 for zeros; compressed-tensors.
    COMPRESSED = "ct"
    #: ``s = (high - low) / top``, ``z = rint(clip(-half - low / s, -half, half - 1))``, ``code =
    #: rint(clip(x / s + z, -half, half - 1))``: the zero point is added before rounding; scale
    #: 2^-23 for zeros; compressed-tensors.
    COMPRESSED_ASYM = "ct-asym"
    #: ``s = m / -half`` in FP16, where ``m`` is the value of largest magnitude, the first of
    #: equals; its code is ``-half``, and scales can be negative; the grid of GGUF Q4_0.
    SIGNED_MAX = "signedmax"


#: Fraction of the range that is kept, in conventions that clip.
CLIPS = {Convention.QUAROT_ACT: 0.9, Convention.QUAROT_KV: 0.95}
#: Conventions with codes from 0 to 2^n - 1; the others store two's complement.
UNSIGNED = (Convention.AWQ, Convention.GPTQ, Convention.GPTQ_SYM, Convention.QUAROT_KV)
#: Conventions that store a zero point for each group.
WITH_ZERO_POINTS = (
    Convention.AWQ,
    Convention.GPTQ,
    Convention.QUAROT_KV,
    Convention.COMPRESSED_ASYM,
)
#: Group size of the source; conventions not listed have one group per row.
GROUPS = {
    Convention.AWQ: 128,
    Convention.QUAROT_KV: 128,
    Convention.COMPRESSED: 128,
    Convention.COMPRESSED_ASYM: 128,
    Convention.SIGNED_MAX: 32,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerScheme(Scheme, arrays="numerics.conventions.integer_arrays"):
    """Integers by a :class:`Convention`: ``value = code * s`` or ``(code - z) * s``.

    ``size`` is the group size, ``None`` for one scale per row. ``integer_reference`` has the
    definition.

    Examples
    --------
    >>> awq = IntegerScheme(bits=4, convention=Convention.AWQ, size=128)
    >>> awq.name, awq.bits_per_weight((64, 256))
    ('int4-awq', 4.28125)
    """

    has_free_group: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = (
        Family(
            form="int<bits>-<convention>",
            pattern=rf"int{NUMBER}-({'|'.join(sorted(Convention, key=len, reverse=True))})",
            make=lambda m, _: _by_convention(int(m[1]), Convention(m[2])),
            like="int4-awq",
        ),
    )

    bits: int
    convention: Convention
    size: int | None

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError(f"integer conventions have 2 to 8 bits, not {self.bits}")
        if self.size is None and self.convention in GROUPS:
            raise ValueError(
                f"{self.convention} needs a group size, such as {GROUPS[self.convention]}"
            )

    @property
    def name(self) -> str:
        """Name in the catalog, with the group size if it differs from the source's."""
        is_default = self.size == GROUPS.get(self.convention)
        return f"int{self.bits}-{self.convention}" + ("" if is_default else f":g{self.size}")

    @property
    def group_size(self) -> int | None:
        """Number of values in a full group, ``None`` for one group per row."""
        return self.size

    @property
    def has_half_scales(self) -> bool:
        """Whether scales are FP16, not float32."""
        return self.convention is Convention.SIGNED_MAX

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the scales of a tensor of this shape."""
        return (*shape[:-1], 1 if self.size is None else -(-shape[-1] // self.size))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields: codes, scales and, if the convention has them, zero points."""
        groups = self.scale_shape(shape)
        scale = np.dtype(np.float16 if self.has_half_scales else np.float32)
        fields = [
            Field(name="codes", shape=shape, bits=self.bits, dtype=BYTE, is_index=True),
            Field(name="scales", shape=groups, bits=8 * scale.itemsize, dtype=scale),
        ]
        if self.convention in WITH_ZERO_POINTS:
            fields.append(Field(name="zero_points", shape=groups, bits=self.bits, dtype=BYTE))
        return tuple(fields)


def _by_convention(bits: int, convention: Convention) -> IntegerScheme:
    """Return the scheme with the group size of the convention's source."""
    return IntegerScheme(bits=bits, convention=convention, size=GROUPS.get(convention))
