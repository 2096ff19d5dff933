"""Functions of liberty cells, such as ``!((A B)+C)``, as functions of arrays of bits.

Bits are elements of boolean arrays, or the bits of unsigned integers.

Operators from the highest precedence: ``!`` in front and ``'`` behind an operand; ``^``; AND
(``&``, ``*`` or a space); OR (``+`` or ``|``). Source: the Liberty Reference Manual, attribute
``function`` of pins.
"""

import re
from collections.abc import Callable, Collection, Mapping

import numpy as np

Bits = Mapping[str, np.ndarray]
Function = Callable[[Bits], np.ndarray]
_WORD = re.compile(r"\s*([A-Za-z_][\w\[\].]*|[01]|[!'^&*+|()])")
_DEEPEST = 100


def compiled(text: str, pins: Collection[str] | None = None) -> Function:
    """Return a function of named bits; with ``pins``, the bits it may have.

    >>> nand = compiled("!(A B)")
    >>> nand({"A": np.array([False, True]), "B": np.array([True, True])}).tolist()
    [True, False]

    Raises
    ------
    ValueError
        The text is not a function, or has a bit that is not one of ``pins``.
    """
    words, rest = [], text.rstrip()
    while rest:
        match = _WORD.match(rest)
        if match is None:
            raise ValueError(f"{text!r}: {rest[0]!r} is not part of a function")
        words.append(match[1])
        rest = rest[match.end() :]
    parser = _Parser(text, words)
    found = parser.any_of(0)
    if parser.next is not None:
        raise ValueError(f"{text!r}: {parser.next!r} is left over")
    for word in words:
        if pins is not None and _is_name(word) and word not in pins:
            raise ValueError(f"{text!r}: {word!r} is not one of {', '.join(pins)}")
    return found


def _is_name(word: str) -> bool:
    return word[0].isalpha() or word[0] == "_"


class _Parser:
    def __init__(self, text: str, words: list[str]) -> None:
        self._text, self._words, self._place = text, words, 0

    @property
    def next(self) -> str | None:
        """The next word, not yet read; ``None`` at the end."""
        return self._words[self._place] if self._place < len(self._words) else None

    def any_of(self, depth: int) -> Function:
        """Read terms between ``+`` or ``|``."""
        if depth > _DEEPEST:
            raise ValueError(f"{self._text[:40]!r}...: too many parentheses")
        found = self._all_of(depth)
        while self.next in ("+", "|"):
            self._place += 1
            found = _joined(np.bitwise_or, found, self._all_of(depth))
        return found

    def _all_of(self, depth: int) -> Function:
        found = self._one_of(depth)
        while self.next is not None and self.next not in ("+", "|", ")"):
            if self.next in ("&", "*"):
                self._place += 1
            found = _joined(np.bitwise_and, found, self._one_of(depth))
        return found

    def _one_of(self, depth: int) -> Function:
        found = self._factor(depth)
        while self.next == "^":
            self._place += 1
            found = _joined(np.bitwise_xor, found, self._factor(depth))
        return found

    def _factor(self, depth: int) -> Function:
        negations, found = 0, None
        while self.next == "!":
            self._place, negations = self._place + 1, negations + 1
        word = self.next
        self._place += 1
        if word == "(":
            found = self.any_of(depth + 1)
            if self.next != ")":
                raise ValueError(f"{self._text!r}: a parenthesis that never ends")
            self._place += 1
        elif word is not None and (word in "01" or _is_name(word)):
            found = _constant(word == "1") if word in "01" else _named(word)
        if found is None:
            raise ValueError(f"{self._text!r}: {word or 'nothing'} where a pin should stand")
        while self.next == "'":
            self._place, negations = self._place + 1, negations + 1
        return _negated(found) if negations % 2 else found


def _joined(operator: np.ufunc, left: Function, right: Function) -> Function:
    return lambda bits: operator(left(bits), right(bits))


def _negated(function: Function) -> Function:
    return lambda bits: np.invert(function(bits))


def _named(pin: str) -> Function:
    return lambda bits: bits[pin]


def _constant(value: bool) -> Function:
    def constant(bits: Bits) -> np.ndarray:
        zeros = np.zeros_like(next(iter(bits.values())))
        return np.invert(zeros) if value else zeros

    return constant
