"""Roofs and slopes of a machine: peak rates of operand types, and bandwidths of memories."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Peak rate of one operand type, in operations/s."""

    name: str
    ops_per_s: float
    #: Whether the machine multiplies this type; else weights are expanded to another type.
    is_native: bool = True


def merged(roofs: Sequence[Roof]) -> tuple[Roof, ...]:
    """Return roofs of different heights; roofs of one height share a label.

    >>> fp8, int8 = (Roof(name=name, ops_per_s=4e12) for name in ("fp8", "int8"))
    >>> [roof.name for roof in merged([fp8, int8, Roof(name="fp16", ops_per_s=2e12)])]
    ['fp8, int8', 'fp16']
    """
    rates = dict.fromkeys(roof.ops_per_s for roof in roofs)
    alike = [[roof for roof in roofs if roof.ops_per_s == rate] for rate in rates]
    return tuple(
        Roof(
            name=", ".join(roof.name for roof in some),
            ops_per_s=some[0].ops_per_s,
            is_native=all(roof.is_native for roof in some),
        )
        for some in alike
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Bandwidth of one memory level, in bytes/s."""

    name: str
    bytes_per_s: float


def si(number: float) -> str:
    """Return a number with three digits and an SI prefix.

    Examples
    --------
    >>> si(3.12e14), si(2.039e12), si(17.1e9)
    ('312 T', '2.04 T', '17.1 G')
    """
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 10.0**power:
            return f"{number / 10.0**power:.3g} {prefix}"
    return f"{number:.3g} "
