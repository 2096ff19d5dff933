"""Processes that measure the points of a sweep for the one that stores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sim.workers import Prepare, Results, Watch, work


@runtime_checkable
class Crew(Protocol):
    """Other processes that measure points."""

    def references(self, points: int) -> int:
        """Return how many processes report their own pass of the float model as progress."""

    def work(self, names: Mapping[str, str], watch: Watch) -> Results:
        """Yield the points of keys as they finish; values are the names of the recipes."""


@dataclass(frozen=True, slots=True)
class LocalCrew:
    """Workers on this machine; ``prepare`` makes the function that measures the point of a key."""

    prepare: Prepare
    workers: int

    def references(self, points: int) -> int:
        """Return the number of workers: each measures the float model as its reference."""
        return min(self.workers, points)

    def work(self, names: Mapping[str, str], watch: Watch) -> Results:
        """Yield the points of keys as they finish."""
        return work(self.prepare, names, self.workers, watch)
