"""Sums of many numbers as trees: each level of additions is one bit wider than the one before."""

from collections.abc import Sequence

from amaranth.hdl import Value


def add_all(terms: Sequence[Value]) -> Value:
    """Return the sum of some terms, whose depth and width grow with the logarithm of their number.

    >>> from amaranth.hdl import Signal, signed
    >>> add_all([Signal(signed(8)) for _ in range(16)]).shape()
    signed(12)
    """
    level = list(terms)
    while len(level) > 1:
        pairs = zip(level[0::2], level[1::2], strict=False)
        level = [a + b for a, b in pairs] + level[len(level) & ~1 :]
    return level[0]
