"""Granularity of scales: the values of a tensor that share a scale."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale for the whole tensor."""

    def __str__(self) -> str:
        return "tensor"


@dataclass(frozen=True, slots=True)
class PerChannel:
    """One scale for each row of a weight of shape (out, in)."""

    def __str__(self) -> str:
        return "channel"


@dataclass(frozen=True, slots=True)
class PerToken:
    """One scale for each row of an activation; the same arithmetic as :class:`PerChannel`."""

    def __str__(self) -> str:
        return "token"


@dataclass(frozen=True, slots=True)
class PerGroup:
    """One scale for each ``size`` consecutive values along the last axis.

    If ``size`` does not divide the axis, the last group is shorter, and its scale comes from its
    own values alone.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a group has at least 1 value, not {self.size}")

    def __str__(self) -> str:
        return f"g{self.size}"


Granularity = PerTensor | PerChannel | PerToken | PerGroup
