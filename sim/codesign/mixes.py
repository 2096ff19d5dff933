"""The best mixes of formats for kinds of layers, by exact dynamic programming.

The divergence of a mix is taken as the sum of those of its parts, each measured with all other
layers unquantized. That sum is a model: the best mixes are then measured whole.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of layers in one format."""

    kind: str
    format: str
    size_bytes: float
    #: Divergence with this part alone quantized, nats per token.
    kl_nats: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A format for every kind of layers."""

    parts: tuple[Part, ...]

    @property
    def size_bytes(self) -> float:
        """Bytes of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def kl_nats(self) -> float:
        """Sum of the divergences of the parts."""
        return sum(part.kl_nats for part in self.parts)


def best_mixes(kinds: Sequence[Sequence[Part]], *, most_bytes: float, count: int) -> list[Mix]:
    """Return the ``count`` mixes with the least divergence within a budget, the best first.

    After each kind, a partial mix is dropped if ``count`` others are at most as large and at most
    as divergent: whatever follows, those come before it.

    Examples
    --------
    >>> def kind(name, *costs):
    ...     return [Part(kind=name, format=f, size_bytes=b, kl_nats=k) for f, b, k in costs]
    >>> kinds = [kind("up", ("int4", 4, 0.2), ("int8", 8, 0.0)),
    ...          kind("down", ("int4", 4, 0.5), ("int8", 8, 0.1))]
    >>> [part.format for part in best_mixes(kinds, most_bytes=12, count=1)[0].parts]
    ['int4', 'int8']

    Raises
    ------
    ValueError
        No mix fits the budget.
    """
    least = [min(part.size_bytes for part in parts) for parts in kinds]
    found = [Mix(parts=())]
    for place, parts in enumerate(kinds):
        rest = sum(least[place + 1 :])
        longer = [Mix(parts=(*mix.parts, part)) for mix in found for part in parts]
        found = _band([mix for mix in longer if mix.size_bytes + rest <= most_bytes], count)
    if not found:
        raise ValueError(
            f"the smallest mix takes {sum(least):,.0f} bytes, more than {most_bytes:,.0f}"
        )
    return sorted(found, key=lambda mix: (mix.kl_nats, mix.size_bytes))[:count]


def _band(mixes: Sequence[Mix], count: int) -> list[Mix]:
    """Return the mixes that fewer than ``count`` others are at most as large and divergent as."""
    kept: list[Mix] = []
    # Negated divergences of the `count` best mixes so far: the first is the worst of them.
    best: list[float] = []
    for mix in sorted(mixes, key=lambda mix: (mix.size_bytes, mix.kl_nats)):
        if len(best) == count and mix.kl_nats >= -best[0]:
            continue
        kept.append(mix)
        heapq.heappush(best, -mix.kl_nats)
        if len(best) > count:
            heapq.heappop(best)
    return kept
