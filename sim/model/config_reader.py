"""Typed access to the fields of a model's ``config.json``, which remembers what was read.

Every getter marks its field as read; :meth:`ConfigReader.finish` refuses a field that changes the
mathematics and was not read, and returns the names of those that transformers does not read either.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

#: Largest size of a tensor dimension; a damaged file may hold anything.
MAX_SIZE = 2**24

#: Values of a field with which it changes nothing, by field.
Switches = Mapping[str, tuple[object, ...]]


def shown(value: object, limit: int = 60) -> str:
    """Return a value as JSON, shortened to one line of at most ``limit`` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class ConfigReader:
    """Typed access to the fields of one JSON object; records which were read.

    Parameters
    ----------
    raw : Mapping
        The parsed object.
    context : str
        Where errors say the field is, such as ``"llama configuration"``.
    """

    def __init__(self, raw: Mapping[str, object], context: str) -> None:
        self._raw, self.context = raw, context
        self._read: set[str] = set()

    @property
    def names_read(self) -> frozenset[str]:
        """Names of the fields that were read so far, given or not."""
        return frozenset(self._read)

    def given(self, name: str) -> bool:
        """Whether the field is there, ``null`` or not."""
        self._read.add(name)
        return name in self._raw

    def take(self, name: str, default: object = None) -> object:
        """Return a field as it is."""
        self._read.add(name)
        return self._raw.get(name, default)

    def one_of(self, name: str, other: str) -> str:
        """Return which of two names of one field is given; both may be if they say the same."""
        self._read |= {name, other}
        if not self.given(other):
            return name
        if self.given(name) and not _same(self._raw[name], self._raw[other]):
            raise self.wrong(other, f"must equal {name} {self.shown(name)} where both are given")
        return other

    def integer(self, name: str, default: int, *, low: int = 1, high: int = MAX_SIZE) -> int:
        """Return an integer from ``low`` to ``high``; ``null`` means the default."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"must be an integer from {low} to {high}")
        return value

    def optional_integer(self, name: str, *, low: int = 1, high: int = MAX_SIZE) -> int | None:
        """Return an integer from ``low`` to ``high``; ``null`` and absence mean ``None``."""
        return None if self.take(name) is None else self.integer(name, low, low=low, high=high)

    def number(self, name: str, default: float) -> float:
        """Return a finite number greater than zero; ``null`` means the default."""
        value = self.take(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # An integer larger than the largest float becomes NaN.
        if not is_number or not 0 < float_or_nan(value) < math.inf:
            raise self.wrong(name, "must be a finite number greater than 0")
        return float_or_nan(value)

    def optional_number(self, name: str, default: float | None) -> float | None:
        """Return a number greater than zero; ``null`` means ``None``, absent the default."""
        if self.take(name, default) is None:
            return None
        return self.number(name, default or 0.0)

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def choice(self, name: str, default: str, choices: Mapping[str, T]) -> T:
        """Return the value that a string stands for in ``choices``."""
        value = self.take(name, default)
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(name, f"must be one of {', '.join(choices)}")
        return choices[value]

    def only(self, name: str, *supported: object) -> None:
        """Refuse a field unless absent or one of the supported values."""
        value = self.take(name, supported[0])
        if not any(_same(value, other) for other in supported):
            raise self.wrong(name, f"only {' or '.join(map(shown, supported))} is supported")

    def finish(self, switches: Switches) -> tuple[str, ...]:
        """Return the sorted names of fields that were not read and change nothing.

        Parameters
        ----------
        switches
            Fields that change the mathematics, with the values that leave it alone; another value
            is refused where the field was not read.
        """
        unread = [n for n in sorted(self._raw) if n not in self._read and self._raw[n] is not None]
        for name in unread:
            value = self._raw[name]
            if name in switches and not any(_same(value, off) for off in switches[name]):
                raise ValueError(
                    f"{self.context}: {name} = {shown(value)} is not supported; the field may "
                    f"change what the model computes, so it can't be ignored"
                )
        return tuple(name for name in unread if name not in switches)

    def unread_objects(self) -> tuple[str, ...]:
        """Return the sorted names of lists and objects that were not read."""
        return tuple(
            name
            for name in sorted(self._raw)
            if name not in self._read and isinstance(self._raw[name], list | Mapping)
        )

    def shown(self, name: str) -> str:
        """Return a field as it stands in the file, for a message."""
        return shown(self._raw.get(name))

    def wrong(self, name: str, rule: str) -> ValueError:
        """Return the error for a field that breaks ``rule``."""
        return ValueError(f"{self.context}: {name} {rule}, not {shown(self._raw.get(name))}")


def float_or_nan(value: object) -> float:
    """Return a number as a float; NaN if it is too large for one."""
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.nan


def _same(a: object, b: object) -> bool:
    """Equality for which 1 and true are different."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)
