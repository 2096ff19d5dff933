"""Points of one name: those that differ in the calibration text are renamed, others dropped."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from sim.sweep.result import PointResult


def distinct(points: Sequence[PointResult]) -> list[PointResult]:
    """Return the points in order; those of one name and several calibrations are renamed.

    Of points that differ only in the second text the first stays.

    The calibration is added to the name: ``int3 gptq (my.txt, 4 windows of 512 tokens)``, with the
    start of the text's hash where that is the same too.
    """
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    first: dict[tuple[str, str, tuple[str, str]], PointResult] = {}
    for point in points:
        found[point.recipe].add(_calibration(point))
        first.setdefault((point.recipe, point.definition, _calibration(point)), point)
    return [_renamed(point, found[point.recipe]) for point in first.values()]


def _renamed(point: PointResult, calibrations: set[tuple[str, str]]) -> PointResult:
    windows, digest = _calibration(point)
    if len(calibrations) == 1 or not windows:
        return point
    same = [one for one in calibrations if one[0] == windows]
    more = f", {digest[:8]}" if len(same) > 1 else ""
    return dataclasses.replace(point, recipe=f"{point.recipe} ({windows}{more})")


def _calibration(point: PointResult) -> tuple[str, str]:
    """Return text and windows of a point's calibration, and the hash of the text."""
    windows, _, _ = point.provenance.get("calibration", "").partition(";")
    return windows, point.provenance.get("calibration_text_sha256", "")
