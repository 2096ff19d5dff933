"""The text form of schemes: ``fp4``, ``fp4_e2m1:g128:fp16``, ``int4:g64:asym:bf16``."""

import dataclasses
import math
import re
from typing import Any, Literal

import numpy as np

from numerics.formats import (
    FORMATS,
    FP16,
    FP32,
    INTEGERS,
    FloatFormat,
    Format,
    IntFormat,
    TableFormat,
    float_format,
)
from numerics.names.catalog import CATALOG, GROUP, SCHEMES, Entry
from numerics.names.families import find_member
from numerics.names.suggest import unknown
from numerics.schemes.element import (
    SCALE_NAMES,
    STATIC,
    TWO_LEVEL,
    ElementScheme,
    ScaleRule,
    ZeroPoint,
    default_rule,
)
from numerics.schemes.granularity import Granularity, PerChannel, PerGroup, PerTensor, PerToken
from numerics.schemes.scheme import Scheme

Role = Literal["weight", "activation", "kv"]

GRANULARITIES: dict[str, Granularity] = {
    str(granularity): granularity for granularity in (PerTensor(), PerChannel(), PerToken())
}
SCALE_FORMATS = {name: fmt for fmt, name in SCALE_NAMES.items()}
#: Largest number of values in ``table(...)``; codes have at most 8 bits.
MAX_TABLE = 256
TOKENS = (
    f"{', '.join(GRANULARITIES)}, g<size>, {', '.join(ZeroPoint)}, {TWO_LEVEL}, {STATIC}<number>, "
    f"a scale format ({', '.join(SCALE_FORMATS)}) or a scale rule ({', '.join(ScaleRule)})"
)
#: Names of element formats that are not names of schemes.
ELEMENTS = tuple(
    name
    for name, fmt in FORMATS.items()
    if name not in SCHEMES and fmt not in SCALE_NAMES and not name.startswith("uint")
)


def parse_scheme(text: str, *, group_size: int | None = None, role: Role = "weight") -> Scheme:
    """Return the scheme that a text means.

    The text is a name of the catalog or an element format, then, each after a colon and in any
    order: the granularity (``tensor``, ``channel``, ``token``, ``g128``), ``asym`` or
    ``floatmin``, the scale format (``fp32``, ``fp16``, ``bf16``, ``e4m3``, ``e8m0``), the scale
    rule. ``table(-1,0,0.5,2)`` is the format of those values. By default weights have groups of 128
    with FP16 scales, which map a group's largest magnitude to half the range of the format. In the
    roles ``"activation"`` and ``"kv"`` integer and float formats have float32 scales, one for each
    token unless the text or ``group_size`` gives groups.

    Under a second level of scales, which ``nvfp4`` has and ``two-level`` adds, ``token`` and
    ``tensor`` set its granularity: ``nvfp4:token`` has one float32 for each token. ``scale=0.05``
    sets a static scale for the tensor, or a static second level where there is one, as in
    ``int8:scale=0.05`` and ``nvfp4:scale=0.0005``. Only such schemes and those with a scale for
    each token or group suit activations and caches.

    ``group_size`` changes the group of a scheme that has groups.

    Examples
    --------
    >>> parse_scheme("fp4").name, parse_scheme("fp4", group_size=64).name
    ('fp4_e2m1:g128:fp16', 'fp4_e2m1:g64:fp16')
    >>> parse_scheme("int8", role="activation").name, parse_scheme("mxfp4:rceil").name
    ('int8:token:fp32', 'mxfp4-rceil')
    >>> parse_scheme("nvfp4:token").name, parse_scheme("fp8_e4m3:scale=1").name
    ('nvfp4:token', 'fp8_e4m3:tensor:fp32:scale=1')
    """
    head, *tokens = text.strip().lower().replace(" ", "").split(":")
    entry = _entry(head)
    scheme = entry.scheme
    if not isinstance(scheme, ElementScheme):
        return _regrouped(scheme, tokens, text, group_size)
    changes = _changes(tokens, text, has_two_levels=scheme.second_level is not None)
    if "static_scale" in changes and scheme.second_level is None and "second_level" not in changes:
        changes = {"granularity": PerTensor(), "scale_format": FP32} | changes
    if group_size is not None:
        _change_group(changes, scheme.granularity, group_size, text)
    if entry.is_fixed:
        _check_fixed(scheme, changes, head)
    if entry.follows_role and role != "weight":
        changes = {"granularity": PerToken(), "scale_format": FP32} | changes
    return _apply(scheme, changes)


def short_name(scheme: Scheme) -> str:
    """Return the name under which the catalog has a scheme, else its canonical text.

    >>> short_name(parse_scheme("fp4_e2m1:g128:fp16")), short_name(parse_scheme("fp4:g64"))
    ('fp4', 'fp4_e2m1:g64:fp16')
    """
    return next((name for name, named in SCHEMES.items() if named == scheme), scheme.name)


def _entry(head: str) -> Entry:
    if head in CATALOG:
        return CATALOG[head]
    if FORMATS.get(head) in SCALE_NAMES:
        raise ValueError(
            f"'{head}' is a scale format here, not an element format; as in int4:g32:{head}"
        )
    element = FORMATS[head] if head in ELEMENTS else _small_float(head) or _table(head)
    if element is None and (member := find_member(head, _element)) is not None:
        scheme, family = member
        is_fixed = CATALOG[family.like].is_fixed
        return Entry(scheme=scheme, source=CATALOG[family.like].source, is_fixed=is_fixed)
    if element is not None:
        scheme = ElementScheme(
            element=element,
            granularity=GROUP,
            scale_format=FP16,
            rule=default_rule(element, FP16, ZeroPoint.NONE),
        )
        return Entry(scheme=scheme, source="", follows_role=True)
    raise ValueError(unknown("format", head, [*CATALOG, *ELEMENTS], see="qsim formats"))


def _element(name: str) -> Format | None:
    """Return the element format of a name: a format, or a scheme with one element format."""
    scheme = SCHEMES.get(name)
    if name in FORMATS or not isinstance(scheme, ElementScheme):
        return FORMATS.get(name) or _small_float(name)
    return scheme.element


def _small_float(head: str) -> Format | None:
    """Return the format of a text such as ``e3m2`` or ``fp6_e3m2``: a named format if one matches.

    Names of ml_dtypes with a suffix for the special codes, such as ``float8_e4m3fn``, are accepted.
    """
    if special := re.fullmatch(r"(?:fp\d_|float\d_)?(e\dm\d)(fn|b11|b11fnuz|fnuz)", head):
        suffix = {"fn": "", "b11": "b11fnuz"}.get(special[2], special[2])
        ends = f"_{special[1]}{suffix}"
        fmt = next((fmt for name, fmt in FORMATS.items() if name.endswith(ends)), None)
        has_infinity = isinstance(fmt, FloatFormat) and fmt.inf_code is not None
        return None if has_infinity else fmt
    match = re.fullmatch(r"(?:fp\d_)?(e(\d)m(\d))", head)
    if match is None:
        return None
    named = (fmt for name, fmt in FORMATS.items() if name.endswith(f"_{match[1]}"))
    return next(named, None) or float_format(int(match[2]), int(match[3]))


def _table(head: str) -> Format | None:
    """Return the format of a text such as ``table(-1,0,0.5,2)``; values may have any order."""
    match = re.fullmatch(r"table\((.*)\)", head)
    if match is None:
        return None
    words = match[1].split(",")
    try:
        with np.errstate(over="ignore"):
            values = sorted({np.float32(word) + np.float32(0) for word in words})
    except ValueError:
        raise ValueError(
            f"'{head}' has a value that is not a number; as in table(-1,0,0.5,2)"
        ) from None
    if not 2 <= len(values) <= MAX_TABLE or not np.isfinite(values).all() or values[-1] <= 0:
        raise ValueError(
            f"a table has 2 to {MAX_TABLE} finite values, the largest above 0, not '{head[:60]}'"
        )
    name = ",".join(str(value).removesuffix(".0") for value in values)
    return TableFormat(name=f"table({name})", table=tuple(map(float, values)))


def _regrouped(scheme: Scheme, tokens: list[str], text: str, group_size: int | None) -> Scheme:
    """Return a scheme whose text can change only the group."""
    sizes = set() if group_size is None else {group_size}
    for token in tokens:
        match = re.fullmatch(r"g(\d+)", token)
        if match is None:
            raise ValueError(f"'{token}' in '{text}' is not a group, such as g64")
        sizes.add(int(match[1]))
    if len(sizes) > 1:
        raise ValueError(f"'{text}' and group_size={group_size} say different groups")
    return scheme.with_group_size(sizes.pop()) if sizes else scheme


def _changes(tokens: list[str], text: str, *, has_two_levels: bool) -> dict[str, Any]:
    """Return the fields of a scheme set by the tokens."""
    changes: dict[str, Any] = {}
    levels = [t for t in tokens if GRANULARITIES.get(t) in (PerTensor(), PerToken())]
    is_two_level = has_two_levels or TWO_LEVEL in tokens
    if levels and is_two_level:
        tokens = [token for token in tokens if token != TWO_LEVEL]
    for token in tokens:
        field, value = _field(token, text)
        if field == "granularity" and token in levels and is_two_level:
            field = "second_level"
        if field in changes:
            raise ValueError(f"'{text}' gives its {field.replace('_', ' ')} twice")
        changes[field] = value
    return changes


def _field(token: str, text: str) -> tuple[str, Any]:
    if match := re.fullmatch(r"g(\d+)", token):
        return "granularity", PerGroup(int(match[1]))
    if token in GRANULARITIES:
        return "granularity", GRANULARITIES[token]
    if token in SCALE_FORMATS:
        return "scale_format", SCALE_FORMATS[token]
    if token in list(ZeroPoint):
        return "zero_point", ZeroPoint(token)
    if token in list(ScaleRule):
        return "rule", ScaleRule(token)
    if token == TWO_LEVEL:
        return "second_level", PerTensor()
    if token.startswith(STATIC):
        return "static_scale", _number(token.removeprefix(STATIC), text)
    raise ValueError(f"'{token}' in '{text}' is not one of {TOKENS}")


def _number(word: str, text: str) -> float:
    """Return a positive float32."""
    try:
        with np.errstate(over="ignore", under="ignore"):
            value = float(np.float32(word))
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"'{word}' in '{text}' is not a positive number; as in {STATIC}0.05")
    return value


def _change_group(
    changes: dict[str, Any], granularity: Granularity, group_size: int, text: str
) -> None:
    wanted = PerGroup(group_size)
    said = changes.get("granularity", granularity)
    if not isinstance(said, PerGroup):
        raise ValueError(f"'{text}' has one scale per {said}, no group for group_size={group_size}")
    if changes.get("granularity", wanted) != wanted:
        raise ValueError(f"'{text}' gives its group, and group_size={group_size} another")
    changes["granularity"] = wanted


def _check_fixed(scheme: ElementScheme, changes: dict[str, Any], head: str) -> None:
    """Raise :class:`ValueError` for a change of something that the scheme's definition fixes."""
    for field, value in changes.items():
        is_free = field in ("rule", "second_level", "static_scale")
        if not is_free and value != getattr(scheme, field):
            raise ValueError(
                f"{head} is defined with blocks of {scheme.group_size} and "
                f"{SCALE_NAMES[scheme.scale_format]} scales; for others name the element, "
                f"as in {scheme.element.name}:g64:fp16"
            )


def _apply(scheme: ElementScheme, changes: dict[str, Any]) -> ElementScheme:
    """Return the scheme with some fields changed and element format and rule adapted."""
    zero_point = changes.get("zero_point", scheme.zero_point)
    scale_format = changes.get("scale_format", scheme.scale_format)
    element = scheme.element
    if isinstance(element, IntFormat) and zero_point is not scheme.zero_point:
        kind = "narrow" if zero_point is ZeroPoint.NONE else "unsigned"
        element = INTEGERS[element.bits, kind]
    if zero_point is not scheme.zero_point or scale_format != scheme.scale_format:
        changes = {"rule": default_rule(element, scale_format, zero_point)} | changes
    return dataclasses.replace(scheme, element=element, **changes)
