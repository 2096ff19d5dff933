"""Number formats of the activations and of the KV cache, by layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from numerics import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNumerics:
    """Schemes of one layer's activations; ``None`` leaves them float32.

    ``qkv``, ``o``, ``gate_up`` and ``down`` round the inputs of the linear layers of that name,
    each token's vector on its own. ``kv`` rounds keys (after rotation) and values as the cache
    holds them; a row is one head's key or value of one token.
    """

    qkv: Scheme | None = None
    o: Scheme | None = None
    gate_up: Scheme | None = None
    down: Scheme | None = None
    kv: Scheme | None = None


def segments(numerics: tuple[LayerNumerics, ...]) -> Iterator[tuple[range, LayerNumerics]]:
    """Yield the runs of consecutive layers with equal entries.

    Examples
    --------
    >>> [layers for layers, entry in segments((LayerNumerics(),) * 3)]
    [range(0, 3)]
    """
    start = 0
    for entry, run in groupby(numerics):
        stop = start + len(list(run))
        yield range(start, stop), entry
        start = stop
