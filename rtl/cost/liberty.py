"""The syntax of liberty files: groups and their attributes, with line numbers.

A syntax error names line and cell. :mod:`rtl.cost.library` interprets the groups. Source: the
Liberty Reference Manual, chapter 1.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from rtl.toolchain import ToolError

_TOKEN = re.compile(
    r"""(?P<skip>/\*.*?\*/|//[^\n]*|\\\r?\n|[ \t\r\f]+)|(?P<line>\n)"""
    r"""|(?P<word>"(?:[^"\\]|\\.)*"|[{}();:,]|(?!/\*)[^\s{}();:,"\\]+)""",
    re.DOTALL,
)
LONGEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A name, number, string or punctuation mark, and its line."""

    text: str
    line: int


@dataclass(slots=True, kw_only=True)
class Group:
    """``kind (names) { attributes and groups }``."""

    kind: str
    names: tuple[str, ...]
    line: int
    #: Values of ``name : value`` and ``name (values)``; the last if a name is given twice.
    attributes: dict[str, tuple[Word, ...]] = field(default_factory=dict)
    groups: "list[Group]" = field(default_factory=list)

    def all(self, kind: str) -> "list[Group]":
        """Return the groups of a kind that are directly within this one."""
        return [group for group in self.groups if group.kind == kind]

    def text(self, name: str) -> str | None:
        """Return an attribute's text, without quotes; ``None`` if the group lacks the attribute."""
        words = self.attributes.get(name)
        return None if words is None else " ".join(word.text for word in words)


def read_liberty(path: Path) -> Group:
    """Return the library group of a file.

    Raises
    ------
    ToolError
        The file is too long, or not a liberty file; the message has the line and the cell.
    """
    with path.open("rb") as file:
        data = file.read(LONGEST_BYTES + 1)
    if len(data) > LONGEST_BYTES:
        raise ToolError(f"{path}: a liberty file has at most {LONGEST_BYTES >> 20} MiB")
    parser = _Parser(path, _words(path, data.decode("utf-8", errors="replace")))
    found = parser.statements(Group(kind="file", names=(), line=1), is_file=True)
    libraries = found.all("library")
    if len(libraries) != 1:
        raise ToolError(f"{path}: line 1: {len(libraries)} library groups; a liberty file has one")
    return libraries[0]


def _words(path: Path, text: str) -> list[Word]:
    words, line, place = [], 1, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ToolError(f"{path}: line {line}: a string or comment that never ends")
        if match["word"]:
            words.append(Word(text=match["word"], line=line))
        line += match[0].count("\n")
        place = match.end()
    return words


class _Parser:
    def __init__(self, path: Path, words: list[Word]) -> None:
        self._path, self._words, self._place = path, words, 0
        self._open: list[Group] = []

    def statements(self, into: Group, *, is_file: bool = False) -> Group:
        """Read statements up to the end of a group, or of the file."""
        self._open.append(into)
        while self._is_more(is_file):
            self._statement(into)
        self._open.pop()
        return into

    def _is_more(self, is_file: bool) -> bool:
        if self._place == len(self._words):
            if is_file:
                return False
            raise self._error("the file ends within a group; it lacks a }")
        if not is_file and self._words[self._place].text == "}":
            self._place += 1
            return False
        return True

    def _statement(self, into: Group) -> None:
        name = self._next()
        if name.text == ";":
            return
        if name.text in "{}():,":
            raise self._error(f"{name.text} where a name should stand", name)
        sign = self._next()
        if sign.text == ":":
            into.attributes[name.text] = self._value(sign.line)
        elif sign.text == "(":
            values = self._arguments()
            if self._peek() == "{":
                self._place += 1
                names = tuple(word.text for word in values)
                group = Group(kind=name.text, names=names, line=name.line)
                into.groups.append(group)
                self.statements(group)
            else:
                into.attributes[name.text] = values
        else:
            raise self._error(f"{name.text} {sign.text}; a name is followed by : or (", sign)

    def _value(self, line: int) -> tuple[Word, ...]:
        """Read up to a semicolon, which may be missing at the end of a line."""
        words: list[Word] = []
        while self._peek() not in (";", "}", None):
            if words and self._words[self._place].line != line:
                break
            words.append(_unquoted(self._next()))
            line = words[-1].line
        return tuple(words)

    def _arguments(self) -> tuple[Word, ...]:
        words: list[Word] = []
        while (word := self._next()).text != ")":
            if word.text in "{};":
                raise self._error(f"{word.text} within parentheses", word)
            if word.text != ",":
                words.append(_unquoted(word))
        return tuple(words)

    def _peek(self) -> str | None:
        return self._words[self._place].text if self._place < len(self._words) else None

    def _next(self) -> Word:
        if self._place == len(self._words):
            raise self._error("the file ends within a statement")
        self._place += 1
        return self._words[self._place - 1]

    def _error(self, what: str, word: Word | None = None) -> ToolError:
        line = (word or self._words[-1]).line if self._words else 1
        return ToolError(f"{self._path}: {place(line, self._open)}: {what}")


def place(line: int, groups: list[Group]) -> str:
    """Return text such as ``line 12, cell INV``, from the groups that are open at a line."""
    cells = [group.names[0] for group in groups if group.kind == "cell" and group.names]
    return f"line {line}, cell {cells[-1]}" if cells else f"line {line}"


def _unquoted(word: Word) -> Word:
    if not word.text.startswith('"'):
        return word
    return Word(text=re.sub(r"\\\s*", " ", word.text[1:-1]), line=word.line)
