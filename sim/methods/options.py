"""The options of a method's step, as text: ``order=natural,damping=0.1``."""

import dataclasses
import typing

from numerics.names.suggest import unknown
from sim.methods.step import Step


def split_outside(text: str, sign: str) -> list[str]:
    """Return the parts of a text between signs that stand outside of brackets.

    >>> split_outside("lorc(format=table(-1,0,1))+rtn", "+")
    ['lorc(format=table(-1,0,1))', 'rtn']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == sign and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def parse_options(step: type[Step], text: str) -> dict[str, object]:
    """Return the values of a step's options by name.

    Raises
    ------
    ValueError
        An option is unknown, given twice or without a value, or its value is not allowed.
    """
    hints = typing.get_type_hints(step)
    names = [field.name for field in option_fields(step)]
    found: dict[str, object] = {}
    for part in filter(None, (p.strip() for p in split_outside(text, ","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"option '{part}' of {step.name} has no value; write {part}=VALUE")
        if name not in names:
            raise ValueError(_unknown_option(step.name, name, names))
        if name in found:
            raise ValueError(f"option {name} of {step.name} is given twice")
        found[name] = _value(step.name, name, value, hints[name])
    return found


def step_text(step: Step) -> str:
    """Return the canonical text of a step: options that differ from their defaults, in order."""
    changed = [
        f"{field.name}={shown(getattr(step, field.name))}"
        for field in option_fields(type(step))
        if getattr(step, field.name) != field.default
    ]
    return f"{step.name}({','.join(changed)})" if changed else step.name


def option_fields(step: type[Step]) -> tuple[dataclasses.Field[object], ...]:
    """Return the fields of a step: its options."""
    return dataclasses.fields(typing.cast(typing.Any, step))


def option_values(step: type[Step], name: str) -> str:
    """Return the allowed values of an option, as text.

    Examples
    --------
    >>> from sim.methods.solvers import Gptq
    >>> option_values(Gptq, "order"), option_values(Gptq, "damping")
    ('natural, activation, group', 'a number')
    """
    kind = typing.get_type_hints(step)[name]
    return ", ".join(_allowed(kind)) or ("a format" if kind is str else "a number")


def shown(value: object) -> str:
    """Return an option's value as written in the text of a method."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown_option(step: str, name: str, names: list[str]) -> str:
    if not names:
        return f"{step} has no options; '{name}' is given"
    return unknown(f"option of {step}", name, names, see=f"qsim methods show {step}")


def _value(step: str, name: str, text: str, kind: typing.Any) -> object:
    if allowed := _allowed(kind):
        if text not in allowed:
            raise ValueError(
                f"option {name} of {step} is '{text}'; it can be {' or '.join(allowed)}"
            )
        return text == "true" if kind is bool else text
    try:
        number = kind(text)
    except ValueError:
        raise ValueError(f"option {name} of {step} is '{text}', not a number") from None
    return typing.cast(object, number)


def _allowed(kind: typing.Any) -> tuple[str, ...]:
    if kind is bool:
        return ("true", "false")
    return tuple(a for a in typing.get_args(kind) if isinstance(a, str))
