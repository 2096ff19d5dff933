"""Typed access to the quantization settings of a checkpoint."""

from collections.abc import Mapping
from typing import Any, TypeVar

from sim.model.config_reader import shown

T = TypeVar("T")


class Settings:
    """A JSON object of settings; getters raise ``ValueError`` with the name of the field."""

    def __init__(self, raw: Mapping[str, Any], context: str) -> None:
        self.raw, self.context = raw, context

    def take(self, *names: str, default: Any = None) -> Any:
        """Return the first field that is given and not null."""
        given = (self.raw[name] for name in names if self.raw.get(name) is not None)
        return next(given, default)

    def integer(self, *names: str, default: int | None = None, low: int = 1) -> int:
        """Return an integer of at least ``low``."""
        value = self.take(*names, default=default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 2**24:
            raise self.wrong(names[0], value, f"must be an integer of at least {low}")
        return value

    def flag(self, *names: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(*names, default=default)
        if not isinstance(value, bool):
            raise self.wrong(names[0], value, "must be true or false")
        return value

    def text(self, *names: str, default: str) -> str:
        """Return a string."""
        value = self.take(*names, default=default)
        if not isinstance(value, str):
            raise self.wrong(names[0], value, "must be a string")
        return value

    def choice(self, *names: str, choices: Mapping[str, T], default: str) -> T:
        """Return what a string, in any case, stands for."""
        value = self.text(*names, default=default)
        if value.lower() not in choices:
            raise self.wrong(names[0], value, f"must be one of {', '.join(choices)}")
        return choices[value.lower()]

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return a list of strings; absent or null: none."""
        value = self.take(*names, default=[])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(names[0], value, "must be a list of strings")
        return tuple(value)

    def object(self, *names: str) -> Mapping[str, Any]:
        """Return an object; absent or null: an empty one."""
        value = self.take(*names, default={})
        if not isinstance(value, Mapping):
            raise self.wrong(names[0], value, "must be an object")
        return value

    def wrong(self, name: str, value: Any, rule: str) -> ValueError:
        """Return the error for a field that breaks a rule."""
        return ValueError(f"{self.context}: {name} {rule}, not {shown(value)}")
