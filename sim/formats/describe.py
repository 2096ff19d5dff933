"""Descriptions of schemes: groups, scales, scale rule, bits, definition."""

import inspect
import re
from collections.abc import Iterator

from numerics.names.text import TOKENS, parse_scheme
from numerics.schemes.element import SCALE_NAMES, ElementScheme, ScaleRule, ZeroPoint
from numerics.schemes.granularity import PerChannel, PerGroup, PerTensor, PerToken
from numerics.schemes.scheme import Scheme

#: Pattern of references to code in a docstring, left out in a terminal.
CODE = (
    r"(?:\bnumerics\.|\breference\.|_reference\b|\bquantize_\w+|\bresidual_codes\b"
    r"|\bbeam_search\b|\blloyd\b|\btrain\b|\bupscale\b)"
)
_IN_BRACKETS = re.compile(rf"\s*\([^()]*{CODE}[^()]*\)")
GRANULARITIES = {
    PerTensor: "one scale for the tensor",
    PerChannel: "one scale per row",
    PerToken: "one scale per token",
}
ZERO_POINTS = {
    ZeroPoint.NONE: "",
    ZeroPoint.INTEGER: "integer zero points",
    ZeroPoint.MINIMUM: "the lowest value of a group as its zero point",
}
RULES = {
    ScaleRule.ABSMAX: "absmax rule",
    ScaleRule.MINMAX: "min-max rule",
    ScaleRule.ABSMEAN: "mean-magnitude rule",
}


def summary(scheme: Scheme, bits: float) -> str:
    """Return a line such as ``blocks of 32, E8M0 scales, floor rule, 4.25 bits per weight``."""
    if isinstance(scheme, ElementScheme):
        parts = [*_parts(scheme)]
    else:
        first, *_ = definition(scheme).split("\n\n")
        parts = [" ".join(first.split()).rstrip(".")]
    return ", ".join([*parts, f"{bits:.5g} bits per weight"])


def _parts(scheme: ElementScheme) -> Iterator[str]:
    scale = SCALE_NAMES[scheme.scale_format].upper()
    yield f"elements {scheme.element.name}"
    if isinstance(scheme.granularity, PerGroup):
        level = scheme.second_level
        is_block = scale == "E8M0" or level is not None
        yield f"{'blocks' if is_block else 'groups'} of {scheme.granularity.size}"
        yield f"{scale} scale{f' under one FP32 scale per {level}' if level is not None else ''}"
    else:
        yield f"{GRANULARITIES[type(scheme.granularity)]} in {scale}"
    if scheme.static_scale is not None:
        yield f"scale {scheme.static_scale:.6g} fixed beforehand"
    if words := ZERO_POINTS[scheme.zero_point]:
        yield words
    yield RULES.get(scheme.rule, f"{scheme.rule} rule")


def options_line(name: str) -> str:
    """Return the options that may follow a format's name, each after a colon.

    >>> options_line("twn"), options_line("mxfp4")
    ('options: g<size>, as in twn:g64', 'options: none')
    """
    if _is_text(f"{name}:g64:bf16"):
        return f"options: {TOKENS}; as in {name}:g64:bf16"
    return f"options: g<size>, as in {name}:g64" if _is_text(f"{name}:g64") else "options: none"


def _is_text(text: str) -> bool:
    try:
        parse_scheme(text)
    except ValueError:
        return False
    return True


def definition(scheme: Scheme) -> str:
    """Return the docstring of a scheme's class, up to its first section, without code."""
    words, *_ = re.split(r"\n\w+\n---", inspect.getdoc(type(scheme)) or "")
    return without_code(re.sub(r":\w+:|``?|~", "", words).strip())


def without_code(text: str) -> str:
    """Return a text without the clauses that name functions and modules.

    >>> without_code("One scale per row: reference.quantize_row. Sums are float32 (numerics.dot).")
    'One scale per row. Sums are float32.'
    """
    paragraphs = (_IN_BRACKETS.sub("", paragraph) for paragraph in text.split("\n\n"))
    return "\n\n".join(filter(None, map(_without_clauses, paragraphs)))


def _without_clauses(paragraph: str) -> str:
    sentences = re.split(r"(?<=[.])(\s+)(?=[A-Z*-])", paragraph)
    return "".join(map(_without_clause, sentences)).strip()


def _without_clause(sentence: str) -> str:
    first, *rest = re.split(r"([,;:]\s+)", sentence)
    if re.search(CODE, first):
        return ""
    kept = first
    for mark, clause in zip(rest[::2], rest[1::2], strict=True):
        if not re.search(CODE, clause):
            kept += mark + clause
    return kept if kept.endswith((".", ":")) or not sentence.endswith(".") else f"{kept}."
