"""Types of command-line options: counts, flags and lists."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number


def whole(type_: Any, tokens: Sequence[Any]) -> int:
    """Return the integer that a token spells; a fraction such as 1.5 is refused, not rounded."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def split(text: str) -> Iterator[str]:
    """Yield the parts of a list between commas, those inside brackets kept.

    >>> list(split("fp4, int4:g64,table(-1,0,1)"))
    ['fp4', 'int4:g64', 'table(-1,0,1)']
    >>> list(split("fp4, table(-1,0"))
    ['fp4', 'table(-1,0']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    yield from filter(None, map(str.strip, parts))


def _names(type_: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    return tuple(name for token in tokens for name in split(str(token.value)))


def _check_one(type_: Any, name: str | None) -> None:
    """Refuse a list where one name belongs."""
    count = len(list(split(name or "")))
    if count > 1:
        raise ValueError(f"give one name, not {count}")


#: A whole number above 0.
Count = Annotated[int, Parameter(validator=Number(gt=0), converter=whole)]
#: An option without a value.
Flag = Annotated[bool, Parameter(show_default=False)]
#: One name, of an option that takes no list.
Name = Annotated[str, Parameter(validator=_check_one)]
#: Names after one option or several, with commas or without: ``--format fp4,int4 nf4``.
Names = Annotated[
    tuple[str, ...],
    Parameter(converter=_names, consume_multiple=(1, sys.maxsize), show_default=False),
]
