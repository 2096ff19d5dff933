"""Adder trees; each level is one bit wider than the level before."""

from collections.abc import Sequence

from amaranth.hdl import Value


def add_all(terms: Sequence[Value]) -> Value:
    """Return the sum of some terms by an adder tree of logarithmic depth.

    >>> from amaranth.hdl import Signal, signed
    >>> add_all([Signal(signed(8)) for _ in range(16)]).shape()
    signed(12)
    """
    level = list(terms)
    while len(level) > 1:
        pairs = zip(level[0::2], level[1::2], strict=False)
        level = [a + b for a, b in pairs] + level[len(level) & ~1 :]
    return level[0]
