"""Element schemes: one format for the values, which of them share a scale, and the scale's rule."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.formats import Format, IntFormat, TableFormat
from numerics.formats import constants as c
from numerics.schemes.granularity import Granularity, PerGroup, PerTensor, PerToken
from numerics.schemes.scheme import Field, Scheme

MX_BLOCK = 32
NVFP4_BLOCK = 16
#: Element formats of OCP MX v1.0 with the names of their schemes.
MX_NAMES = {
    c.E2M1: "mxfp4",
    c.E2M3: "mxfp6_e2m3",
    c.E3M2: "mxfp6_e3m2",
    c.E4M3: "mxfp8_e4m3",
    c.E5M2: "mxfp8_e5m2",
    c.MXINT8: "mxint8",
}


#: Token of a second level of scales; start of the token of a static scale.
TWO_LEVEL, STATIC = "two-level", "scale="
#: Scale formats with their names in texts.
SCALE_NAMES = {c.FP32: "fp32", c.FP16: "fp16", c.BF16: "bf16", c.E4M3: "e4m3", c.E8M0: "e8m0"}


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
    #: Least power of two at which no value saturates, ``2^ceil(log2(amax / max))``; the default of
    #: cuBLAS, cuDNN and Transformer Engine.
    RCEIL = "rceil"
    #: ``2^floor(log2(amax / max))``, at least 2^-127.
    RFLOOR = "rfloor"
    #: ``2^rint(log2(amax / max))``, at least 2^-127; the thresholds are ``max * sqrt(2)`` and ``max
    #: / sqrt(2)`` as float32, and an amax equal to one rounds up.
    RNEAREST = "rnearest"
    #: ``2^(ceil(log2 amax) - max_exponent)``; the CEIL of torchao.
    CEIL = "ceil"
    #: ``2^(floor(log2 amax) - max_exponent)`` with amax first rounded half up to the element's
    #: mantissa bits; the EVEN of torchao.
    EVEN = "even"


class ZeroPoint(StrEnum):
    """The representation of zero."""

    #: Code 0: no zero point.
    NONE = "sym"
    #: An integer zero point per group: ``(code - zero_point) * scale``, as in GPTQ and AWQ.
    INTEGER = "asym"
    #: A minimum per group in the format of the scale: ``code * scale + minimum``, as in GGUF Q4_1.
    MINIMUM = "floatmin"


#: Scale rules of the named MX schemes.
MX_RULES = (ScaleRule.FLOOR, ScaleRule.RCEIL, ScaleRule.CEIL, ScaleRule.EVEN)
POWER_OF_TWO_RULES = (*MX_RULES, ScaleRule.RFLOOR, ScaleRule.RNEAREST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementScheme(Scheme, arrays="numerics.schemes.element_arrays"):
    """How the values of a tensor become codes.

    In every scheme codes come from division by the scale *as stored*, rounded half to even (a
    table: to the lower value), saturated. All schemes share these rules too:

    - A group of zeros has scale 1 (power-of-two scales: the smallest) and codes of zero. Float
      formats keep the sign of zero. With other scales than powers of two a magnitude below 2^-126
      is a zero.
    - A scale too small for its format becomes the smallest positive one (at least 2^-126); one too
      large becomes the largest finite one, and values saturate.
    - A group with a NaN or an infinity is *poisoned*: its scale and all its dequantized values are
      NaN, and its codes are 0. Under a tensor scale the whole tensor is the group.

    A second level of scales, as in NVFP4, is one float32 for the tensor, or for each token, by
    which block scales and values are divided: the largest magnitude over the product of half the
    distance from the lowest to the highest element (6 for FP4 E2M1) and the largest block scale.

    A static scale is given beforehand, for example from a calibration set, instead of found from
    the tensor. It is the scale of the tensor, or the second level for the tensor. Values outside
    the range saturate. Where it is the only scale, infinities saturate and a NaN becomes zero.
    """

    has_free_group: ClassVar[bool] = True

    element: Format
    granularity: Granularity
    scale_format: Format
    rule: ScaleRule = ScaleRule.ABSMAX
    zero_point: ZeroPoint = ZeroPoint.NONE
    second_level: PerTensor | PerToken | None = None
    static_scale: float | None = None

    def __post_init__(self) -> None:
        _check_element(self)
        _check_scale(self)
        _check_zero_point(self)
        _check_second_level(self)
        _check_static_scale(self)

    @property
    def name(self) -> str:
        """Canonical text, which :func:`numerics.parse_scheme` reads back in any role."""
        fixed = _fixed_name(self)
        if fixed is not None:
            return fixed
        static = [] if self.static_scale is None else [_static_text(self.static_scale)]
        two_level = [] if self.second_level is None else [TWO_LEVEL]
        per_token = ["token"] if self.second_level == PerToken() else []
        if _has_nvfp4_blocks(self):
            return ":".join(["nvfp4", *per_token, *static])
        parts = [self.element.name.removeprefix("u"), str(self.granularity)]
        if self.zero_point is not ZeroPoint.NONE:
            parts.append(self.zero_point.value)
        if self.rule is not default_rule(self.element, c.FP32, self.zero_point):
            parts.append(self.rule.value)
        parts.append(SCALE_NAMES[self.scale_format])
        return ":".join([*parts, *two_level, *per_token, *static])

    @property
    def group_size(self) -> int | None:
        """Number of values of a full group, ``None`` unless there is a scale per group."""
        return self.granularity.size if isinstance(self.granularity, PerGroup) else None

    @property
    def formats(self) -> tuple[Format, ...]:
        """The element format."""
        return (self.element,)

    @property
    def has_power_of_two_scales(self) -> bool:
        """Whether scales are powers of two, applied by exponent arithmetic."""
        return self.scale_format == c.E8M0

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of schemes with these elements and a scale per token or a static scale."""
        if not self.mixes_rows:
            return ()
        if self.second_level is not None:
            by_token = dataclasses.replace(self, second_level=PerToken())
            return by_token.name, f"{self.name}:{STATIC}<number>"
        by_token = dataclasses.replace(self, granularity=PerToken())
        if self.zero_point is not ZeroPoint.NONE or self.rule is not ScaleRule.ABSMAX:
            return (by_token.name,)
        return by_token.name, f"{self.element.name}:{STATIC}<number>"

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
        >>> from numerics.formats import E2M1, FP16
        >>> fp4 = ElementScheme(element=E2M1, granularity=PerGroup(128), scale_format=FP16)
        >>> [(field.name, field.shape, field.bits) for field in fp4.layout((64, 256))]
        [('codes', (64, 256), 4), ('scales', (64, 2), 16)]
        >>> fp4.bits_per_weight((64, 256)), fp4.bits_per_weight((64, 256), kind="index")
        (4.125, 4.0)
        """
        codes, groups = np.dtype(np.uint8), self.scale_shape(shape)
        stored = c.SCALE_DTYPES[self.scale_format]
        is_static = self.static_scale is not None
        fields = [
            Field(name="codes", shape=shape, bits=self.element.bits, dtype=codes, is_index=True),
            Field(
                name="scales",
                shape=groups,
                bits=self.scale_format.bits,
                dtype=stored,
                is_given=is_static and self.second_level is None,
            ),
        ]
        match self.zero_point:
            case ZeroPoint.INTEGER:
                bits = self.element.bits
                fields.append(Field(name="zero_points", shape=groups, bits=bits, dtype=codes))
            case ZeroPoint.MINIMUM:
                bits = self.scale_format.bits
                fields.append(Field(name="minimums", shape=groups, bits=bits, dtype=stored))
        if self.second_level is not None:
            fields.append(
                Field(
                    name="tensor_scale",
                    shape=() if self.second_level == PerTensor() else (*shape[:-1], 1),
                    bits=c.FP32.bits,
                    dtype=c.SCALE_DTYPES[c.FP32],
                    is_given=is_static,
                )
            )
        return tuple(fields)


def default_rule(element: Format, scale_format: Format, zero_point: ZeroPoint) -> ScaleRule:
    """Return the default scale rule."""
    if scale_format == c.E8M0:
        return ScaleRule.FLOOR
    if zero_point is not ZeroPoint.NONE:
        return ScaleRule.MINMAX
    return ScaleRule.ABSMEAN if element == c.TERNARY else ScaleRule.ABSMAX


def _fixed_name(scheme: ElementScheme) -> str | None:
    """Return the name of an MX scheme, ``None`` for other schemes."""
    if scheme.granularity == PerGroup(MX_BLOCK) and scheme.has_power_of_two_scales:
        name = MX_NAMES.get(scheme.element) if scheme.rule in MX_RULES else None
        return f"{name}-{scheme.rule}" if name and scheme.rule is not ScaleRule.FLOOR else name
    return None


def _static_text(scale: float) -> str:
    """Return ``scale=0.05`` with the fewest digits that identify the float32 number."""
    return STATIC + str(np.float32(scale)).removesuffix(".0")


def _has_nvfp4_blocks(scheme: ElementScheme) -> bool:
    """Whether elements, blocks and block scales are those of NVFP4, under a second level."""
    blocks = (scheme.element, scheme.granularity, scheme.scale_format, scheme.rule)
    nvfp4 = (c.E2M1, PerGroup(NVFP4_BLOCK), c.E4M3, ScaleRule.ABSMAX)
    return blocks == nvfp4 and scheme.second_level is not None


def _check_element(scheme: ElementScheme) -> None:
    if scheme.element == c.E8M0 or scheme.element.bits > 8:
        raise ValueError(f"{scheme.element.name} is a scale format, not an element format")


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


def _check_second_level(scheme: ElementScheme) -> None:
    if scheme.second_level is None:
        return
    if scheme.scale_format != c.E4M3 or scheme.group_size is None:
        raise ValueError(
            f"a second level of scales goes with e4m3 scales of groups, not "
            f"{SCALE_NAMES[scheme.scale_format]} scales per {scheme.granularity}"
        )
    if scheme.zero_point is not ZeroPoint.NONE:
        raise ValueError("a second level of scales goes without zero points")


def _check_static_scale(scheme: ElementScheme) -> None:
    if scheme.static_scale is None:
        return
    has_level = scheme.second_level == PerTensor()
    is_plain = scheme.second_level is None and scheme.zero_point is ZeroPoint.NONE
    is_one = is_plain and (scheme.granularity, scheme.scale_format) == (PerTensor(), c.FP32)
    if not (has_level or is_one) or scheme.rule is not ScaleRule.ABSMAX:
        raise ValueError(
            f"a scale given beforehand is one float32 for the tensor, absmax and without zero "
            f"point, as in int8:{STATIC}0.05 or nvfp4:{STATIC}0.0005"
        )
    least = MIN_NORMAL / (c.E4M3.smallest if has_level else 1)
    if not least <= scheme.static_scale <= MAX_FLOAT32:
        raise ValueError(
            f"a scale given beforehand is a number from {least:.3g} to {MAX_FLOAT32:.3g}, "
            f"not {scheme.static_scale:g}"
        )
    if scheme.static_scale != np.float32(scheme.static_scale):
        raise ValueError(f"a scale given beforehand is a float32, not {scheme.static_scale!r}")
