"""Element schemes: one format for the values, which of them share a scale, and the scale's rule."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from numerics.formats import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    E8M0,
    FP16,
    FP32,
    MXINT8,
    SCALE_DTYPES,
    TERNARY,
    Format,
    IntFormat,
    TableFormat,
)
from numerics.schemes.granularity import Granularity, PerGroup, PerTensor
from numerics.schemes.scheme import Field, Scheme

MX_BLOCK = 32
NVFP4_BLOCK = 16
#: Element formats of OCP MX v1.0 and the names that they give to its schemes.
MX_NAMES = {
    E2M1: "mxfp4",
    E2M3: "mxfp6_e2m3",
    E3M2: "mxfp6_e3m2",
    E4M3: "mxfp8_e4m3",
    E5M2: "mxfp8_e5m2",
    MXINT8: "mxint8",
}


#: Scale formats by the name that texts have for them.
SCALE_NAMES = {FP32: "fp32", FP16: "fp16", BF16: "bf16", E4M3: "e4m3", E8M0: "e8m0"}


class ScaleRule(StrEnum):
    """How the scale of a group is found; ``amax`` is the largest magnitude in the group."""

    #: ``amax / half_range``: the largest magnitude becomes the largest value.
    ABSMAX = "absmax"
    #: ``(max - min) / (2^n - 1)``, the range widened to contain 0 if the zero point is an integer.
    MINMAX = "minmax"
    #: ``mean |x|``; BitNet b1.58, arXiv:2402.17764.
    ABSMEAN = "absmean"
    #: ``2^(floor(log2 amax) - max_exponent)``; OCP MX v1.0, section 6.3.
    FLOOR = "floor"
    #: Least power of two for which nothing saturates, ``2^ceil(log2(amax / max))``; the default of
    #: cuBLAS, cuDNN and Transformer Engine.
    RCEIL = "rceil"
    #: ``2^floor(log2(amax / max))``, at least 2^-127.
    RFLOOR = "rfloor"
    #: ``2^rint(log2(amax / max))``, at least 2^-127: the thresholds are ``max * sqrt(2)`` and ``max
    #: / sqrt(2)`` as float32, up from there.
    RNEAREST = "rnearest"
    #: ``2^(ceil(log2 amax) - max_exponent)``; the CEIL of torchao.
    CEIL = "ceil"
    #: As FLOOR, with amax rounded to the bits of the element's mantissa first, half up; the EVEN of
    #: torchao.
    EVEN = "even"


class ZeroPoint(StrEnum):
    """What code stands for zero."""

    #: Code 0: no zero point.
    NONE = "sym"
    #: A code of its own in each group: ``(code - zero_point) * scale``, as in GPTQ and AWQ.
    INTEGER = "asym"
    #: None: ``code * scale + minimum``, the minimum in the format of the scale, as in GGUF Q4_1.
    MINIMUM = "floatmin"


#: Rules of the MX schemes that have names.
MX_RULES = (ScaleRule.FLOOR, ScaleRule.RCEIL, ScaleRule.CEIL, ScaleRule.EVEN)
POWER_OF_TWO_RULES = (*MX_RULES, ScaleRule.RFLOOR, ScaleRule.RNEAREST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementScheme(Scheme, arrays="numerics.schemes.element_arrays"):
    """How the values of a tensor become codes.

    In every scheme codes come from division by the scale *as stored*, rounded half to even (a
    table: to the lower value), saturated. What all schemes share beyond that:

    - A group of zeros has scale 1 (power-of-two scales: the smallest) and codes of zero. Float
      formats keep the sign of zero. With other scales than powers of two a magnitude below 2^-126
      is a zero.
    - A scale too small for its format is the smallest positive one (at least 2^-126); one too
      large is the largest finite one, and its values saturate.
    - A group with a NaN or an infinity is *poisoned*: its scale is NaN and so is every value that
      comes back; its codes are 0. Under a tensor scale the whole tensor is the group.

    ``tensor_scale`` is the second level of NVFP4: one float32 for the tensor, ``amax / (half_range
    * scale_format.max)``, which block scales and values are divided by.
    """

    has_free_group: ClassVar[bool] = True

    element: Format
    granularity: Granularity
    scale_format: Format
    rule: ScaleRule = ScaleRule.ABSMAX
    zero_point: ZeroPoint = ZeroPoint.NONE
    tensor_scale: bool = False

    def __post_init__(self) -> None:
        _check_element(self)
        _check_scale(self)
        _check_zero_point(self)

    @property
    def name(self) -> str:
        """Canonical text: :func:`numerics.parse_scheme` makes the same scheme of it in any role."""
        fixed = _fixed_name(self)
        if fixed is not None:
            return fixed
        parts = [self.element.name.removeprefix("u"), str(self.granularity)]
        if self.zero_point is not ZeroPoint.NONE:
            parts.append(self.zero_point.value)
        if self.rule is not default_rule(self.element, FP32, self.zero_point):
            parts.append(self.rule.value)
        parts.append(SCALE_NAMES[self.scale_format])
        return ":".join([*parts, "two-level"] if self.tensor_scale else parts)

    @property
    def group_size(self) -> int | None:
        """Values of a full group, ``None`` unless there is a scale per group."""
        return self.granularity.size if isinstance(self.granularity, PerGroup) else None

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def has_power_of_two_scales(self) -> bool:
        """Whether scales are powers of two, applied by exponent arithmetic."""
        return self.scale_format == E8M0

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the scales of a tensor of this shape."""
        match self.granularity:
            case PerTensor():
                return (1,) * len(shape)
            case PerGroup(size):
                return (*shape[:-1], -(-shape[-1] // size))
            case _:
                return (*shape[:-1], 1)

    def with_group_size(self, size: int) -> "ElementScheme":
        """Return the scheme with groups of another size."""
        return dataclasses.replace(self, granularity=PerGroup(size))

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return codes and side data of a tensor of this shape.

        Examples
        --------
        >>> fp4 = ElementScheme(element=E2M1, granularity=PerGroup(128), scale_format=FP16)
        >>> [(field.name, field.shape, field.bits) for field in fp4.layout((64, 256))]
        [('codes', (64, 256), 4), ('scales', (64, 2), 16)]
        >>> fp4.bits_per_weight((64, 256)), fp4.bits_per_weight((64, 256), kind="index")
        (4.125, 4.0)
        """
        codes, groups = np.dtype(np.uint8), self.scale_shape(shape)
        stored = SCALE_DTYPES[self.scale_format]
        fields = [
            Field(name="codes", shape=shape, bits=self.element.bits, dtype=codes, is_index=True),
            Field(name="scales", shape=groups, bits=self.scale_format.bits, dtype=stored),
        ]
        match self.zero_point:
            case ZeroPoint.INTEGER:
                bits = self.element.bits
                fields.append(Field(name="zero_points", shape=groups, bits=bits, dtype=codes))
            case ZeroPoint.MINIMUM:
                bits = self.scale_format.bits
                fields.append(Field(name="minimums", shape=groups, bits=bits, dtype=stored))
        if self.tensor_scale:
            float32 = SCALE_DTYPES[FP32]
            fields.append(Field(name="tensor_scale", shape=(), bits=FP32.bits, dtype=float32))
        return tuple(fields)


def default_rule(element: Format, scale_format: Format, zero_point: ZeroPoint) -> ScaleRule:
    """Return the rule that goes without saying."""
    if scale_format == E8M0:
        return ScaleRule.FLOOR
    if zero_point is not ZeroPoint.NONE:
        return ScaleRule.MINMAX
    return ScaleRule.ABSMEAN if element == TERNARY else ScaleRule.ABSMAX


def _fixed_name(scheme: ElementScheme) -> str | None:
    """Return the name of a scheme that is one of MX or NVFP4, else ``None``."""
    if scheme.granularity == PerGroup(MX_BLOCK) and scheme.has_power_of_two_scales:
        name = MX_NAMES.get(scheme.element) if scheme.rule in MX_RULES else None
        return f"{name}-{scheme.rule}" if name and scheme.rule is not ScaleRule.FLOOR else name
    nvfp4 = (E2M1, PerGroup(NVFP4_BLOCK), E4M3, True)
    given = (scheme.element, scheme.granularity, scheme.scale_format, scheme.tensor_scale)
    return "nvfp4" if given == nvfp4 and scheme.rule is ScaleRule.ABSMAX else None


def _check_element(scheme: ElementScheme) -> None:
    if scheme.element == E8M0 or scheme.element.bits > 8:
        raise ValueError(f"{scheme.element.name} is a format of scales, not of elements")


def _check_scale(scheme: ElementScheme) -> None:
    name, rule = SCALE_NAMES.get(scheme.scale_format), scheme.rule
    if name is None:
        known = ", ".join(SCALE_NAMES.values())
        raise ValueError(f"scales can't be {scheme.scale_format.name}; they can be {known}")
    if scheme.has_power_of_two_scales != (rule in POWER_OF_TWO_RULES):
        raise ValueError(
            f"scale format {name} does not go with rule {rule}; "
            f"e8m0 goes with {', '.join(POWER_OF_TWO_RULES)}, other scale formats with other rules"
        )
    if scheme.has_power_of_two_scales and isinstance(scheme.element, TableFormat):
        raise ValueError(f"e8m0 scales need integer or float elements, not {scheme.element.name}")
    if scheme.tensor_scale and (scheme.scale_format != E4M3 or scheme.group_size is None):
        raise ValueError(
            f"a tensor scale goes with e4m3 scales of groups, not {name} scales per "
            f"{scheme.granularity}"
        )


def _check_zero_point(scheme: ElementScheme) -> None:
    has_zero_point = scheme.zero_point is not ZeroPoint.NONE
    is_unsigned = isinstance(scheme.element, IntFormat) and scheme.element.kind == "unsigned"
    if has_zero_point != is_unsigned:
        wanted = "unsigned integer" if has_zero_point else "signed"
        raise ValueError(
            f"zero point {scheme.zero_point} needs {wanted} codes, not {scheme.element.name}"
        )
    if has_zero_point != (scheme.rule is ScaleRule.MINMAX):
        raise ValueError(
            f"zero point {scheme.zero_point} does not go with rule {scheme.rule}; "
            f"asym and floatmin go with minmax, sym with other rules"
        )
    if has_zero_point and scheme.tensor_scale:
        raise ValueError("a tensor scale goes without zero points")
