"""The text form of methods: ``gptq``, ``gptq(order=natural,damping=0.1)``."""

import dataclasses
import re
import typing

from numerics.names.suggest import unknown
from sim.methods.steps import SOLVERS, Solver

STEP = re.compile(r"(?P<name>[a-z0-9-]+)(?:\((?P<options>[^()]*)\))?")


def parse_method(text: str) -> Solver:
    """Return the solver that a text names.

    Raises
    ------
    ValueError
        The step, an option or a value is unknown.

    Examples
    --------
    >>> parse_method("gptq(order=natural,damping=0.1)")
    Gptq(order='natural', damping=0.1, clip=True)
    >>> parse_method("gptq(clip=maybe)")
    Traceback (most recent call last):
    ValueError: option clip of gptq is 'maybe'; it can be true or false
    """
    match = STEP.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"method '{text}' is not of the form NAME or NAME(OPTION=VALUE,...)")
    if match["name"] not in SOLVERS:
        raise ValueError(unknown("method", match["name"], SOLVERS, see="qsim methods"))
    step = SOLVERS[match["name"]]
    return step(**_options(step, match["options"] or ""))


def method_text(solver: Solver) -> str:
    """Return the canonical text of a solver: options that differ from their defaults, in order.

    Examples
    --------
    >>> method_text(parse_method("gptq(damping=0.01, order=group)"))
    'gptq(order=group)'
    """
    changed = [
        f"{field.name}={shown(getattr(solver, field.name))}"
        for field in dataclasses.fields(typing.cast(typing.Any, solver))
        if getattr(solver, field.name) != field.default
    ]
    return f"{solver.name}({','.join(changed)})" if changed else solver.name


def _options(step: type[Solver], text: str) -> dict[str, object]:
    hints = typing.get_type_hints(step)
    names = [field.name for field in dataclasses.fields(typing.cast(typing.Any, step))]
    found: dict[str, object] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"option '{part}' of {step.name} has no value; write {part}=VALUE")
        if name not in names:
            raise ValueError(_unknown_option(step.name, name, names))
        if name in found:
            raise ValueError(f"option {name} of {step.name} is given twice")
        found[name] = _value(step.name, name, value, hints[name])
    return found


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
    return ("true", "false") if kind is bool else typing.get_args(kind)


def option_values(step: type[Solver], name: str) -> str:
    """Return the allowed values of an option, as text.

    Examples
    --------
    >>> option_values(SOLVERS["gptq"], "order"), option_values(SOLVERS["gptq"], "damping")
    ('natural, activation, group', 'a number')
    """
    return ", ".join(_allowed(typing.get_type_hints(step)[name])) or "a number"


def shown(value: object) -> str:
    """Return an option's value as written in the text of a method."""
    return str(value).lower() if isinstance(value, bool) else str(value)
