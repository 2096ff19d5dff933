"""Strict reading of TOML files into frozen dataclasses.

The fields of the dataclass are the keys of the file: texts, numbers, truth values, tuples of them,
nested dataclasses, and :class:`Sourced` numbers, which always have a source::

    tdp_w = { value = 400, source = "NVIDIA A100 datasheet", confirmed = false }

A field with a default may be left out. A :class:`Sourced` number is above 0 unless the metadata of
its field has ``may_be_zero``, and whole where they have ``whole``. Every error is a
:class:`ValueError` of one line that names file, line where it is known, and key.
"""

import math
import re
import tomllib
import types
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from numerics.names.suggest import unknown

LONGEST_FILE_BYTES = 64 * 1024
#: Largest number of a file, far above any of a machine or a model.
LARGEST = 1e15
#: Characters of a number that an error shows.
LONGEST_SHOWN = 24

_T = TypeVar("_T")
#: Path of an entry: keys, and positions in lists.
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """A number with its source."""

    value: float
    source: str
    #: Whether the number was checked against its source.
    confirmed: bool = True


def read_toml(path: Path, cls: type[_T], **given: Any) -> _T:
    """Return the dataclass ``cls`` that a TOML file describes.

    ``given`` are fields that don't come from the file, such as its name.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import make_dataclass
    >>> Fan = make_dataclass("Fan", [("power_w", float)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "fan.toml"
    ...     _ = path.write_text("power_w = 3")
    ...     read_toml(path, Fan)
    Fan(power_w=3.0)
    """
    text = _read_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
    except ValueError:
        # Python refuses whole numbers of thousands of digits.
        raise ValueError(f"{path}: a number has too many digits") from None
    except RecursionError:
        raise ValueError(f"{path}: lists or tables are nested too deeply") from None
    return _Reader(path=path, text=text).dataclass(cls, table, (), given)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LONGEST_FILE_BYTES:
        raise ValueError(f"{path}: longer than {LONGEST_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    path: Path
    text: str

    def dataclass(
        self, cls: type[_T], table: dict[str, Any], keys: Keys, given: dict[str, Any]
    ) -> _T:
        """Return ``cls`` made of the table under ``keys``."""
        hints = get_type_hints(cls)
        known = {f.name: f for f in fields(cast(Any, cls)) if f.name not in given}
        for key in table:
            if key not in known:
                raise self._error((*keys, key), _unknown(key, list(known)))
        values = dict(given)
        for name, field in known.items():
            if name in table:
                values[name] = self.value(hints[name], table[name], (*keys, name))
                self._check_number(values[name], field, (*keys, name))
            elif not _has_default(field):
                raise self._error(keys, f"key {name!r} is missing")
        try:
            return cls(**values)
        except ValueError as error:
            # The message of a dataclass starts with the key that is wrong.
            first = str(error).split(" ")[0].rstrip(":")
            where = (*keys, first) if first in table else keys
            raise self._error(where, str(error)) from None

    def _check_number(self, value: Any, field: "Field[Any]", keys: Keys) -> None:
        if not isinstance(value, Sourced):
            return
        if value.value == 0 and not field.metadata.get("may_be_zero"):
            raise self._error(keys, f"{_dotted(keys)} is 0, not above 0")
        if field.metadata.get("whole") and value.value != int(value.value):
            raise self._error(keys, f"{_dotted(keys)} is {value.value:g}, not a whole number")

    def value(self, hint: Any, entry: Any, keys: Keys) -> Any:
        """Return an entry as the type of its field."""
        if get_origin(hint) in (Union, types.UnionType):
            hint = next(arg for arg in get_args(hint) if arg is not type(None))
        if get_origin(hint) is tuple:
            return self._tuple(get_args(hint)[0], entry, keys)
        if is_dataclass(hint):
            if not isinstance(entry, dict):
                raise self._error(keys, f"{_dotted(keys)} is {entry!r}, not {_table_of(hint)}")
            return self.dataclass(cast(type[Any], hint), entry, keys, {})
        return self._plain(hint, entry, keys)

    def _tuple(self, hint: Any, entry: Any, keys: Keys) -> tuple[Any, ...]:
        if not isinstance(entry, list):
            raise self._error(keys, f"{_dotted(keys)} is {entry!r}, not a list")
        return tuple(self.value(hint, item, (*keys, i)) for i, item in enumerate(entry))

    def _plain(self, hint: Any, entry: Any, keys: Keys) -> Any:
        if hint is float and isinstance(entry, int) and not isinstance(entry, bool):
            entry = float(entry) if abs(entry) < LARGEST else math.inf
        if type(entry) is not hint:
            raise self._error(keys, f"{_dotted(keys)} is {entry!r}, not {_NAMES[hint]}")
        if isinstance(entry, (int, float)) and not isinstance(entry, bool):
            if not 0 <= entry < LARGEST:
                shown = repr(entry)[:LONGEST_SHOWN]
                raise self._error(keys, f"{_dotted(keys)} is {shown}, not from 0 to {LARGEST:g}")
        elif entry == "":
            raise self._error(keys, f"{_dotted(keys)} is empty")
        return entry

    def _error(self, keys: Keys, message: str) -> ValueError:
        line = self._line(keys)
        where = f"{self.path}, line {line}" if line else str(self.path)
        return ValueError(f"{where}: {message}")

    def _line(self, keys: Keys) -> int | None:
        """Return the line of the last key of a path that stands in the text."""
        lines = self.text.splitlines()
        start, found = 0, None
        for i, key in enumerate(keys):
            name = re.escape(str(keys[i - 1] if isinstance(key, int) else key))
            if isinstance(key, int):
                # Index of a table [[name]]; items of an inline list have the line of the list.
                places = _places(rf"^\s*\[\[\s*{name}\s*\]\]", lines, 0)[key:]
            else:
                places = _places(rf"(?:^|[\[{{,.])\s*{name}\s*(?:=|\]|\.)", lines, start)
            if places:
                start = places[0]
                found = start + 1
        return found


def _places(pattern: str, lines: list[str], start: int) -> list[int]:
    return [n for n in range(start, len(lines)) if re.search(pattern, lines[n])]


def _dotted(keys: Keys) -> str:
    """Return a path as dotted keys, without positions in lists.

    >>> _dotted(("peaks", 1, "tops"))
    'peaks.tops'
    """
    return ".".join(key for key in keys if isinstance(key, str))


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _has_default(field: "Field[Any]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _table_of(cls: Any) -> str:
    if cls is Sourced:
        return "a number with its source: { value = 1, source = '...' }"
    return f"a table with the keys {', '.join(field.name for field in fields(cls))}"


def _unknown(key: str, known: list[str]) -> str:
    """Return the message for an unknown key; a key without its unit is named as such."""
    with_unit = [name for name in known if name.startswith(f"{key}_")]
    if with_unit:
        return f"key {key!r} lacks its unit: {' or '.join(with_unit)}"
    return unknown("key", key, known)
