"""Compare another implementation's files with the conformance pack."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numerics.conformance.foreign import read_foreign
from numerics.conformance.pack import DATA, Arrays, canonical, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Comparison of one array of a foreign file with the pack's."""

    file: str
    array: str
    compared: int
    different: int
    #: Description of the first difference, empty if there is none.
    first: str = ""


def check_directory(directory: Path) -> list[Verdict]:
    """Compare every ``formats/*.npz`` and ``schemes/*.npz`` under ``directory`` with the pack.

    Raises
    ------
    ValueError
        If a file cannot be read, is not in the pack, has no arrays, or has an array whose name,
        shape or type differs.
    """
    paths = sorted([*directory.glob("formats/*.npz"), *directory.glob("schemes/*.npz")])
    if not paths:
        raise ValueError(
            f"'{directory}' has no formats/NAME.npz or schemes/NAME.npz to check; "
            f"the layout is that of {DATA.parent.name}/data"
        )
    return [verdict for path in paths for verdict in _check_file(path)]


def _check_file(path: Path) -> Iterator[Verdict]:
    name = f"{path.parent.name}/{path.name}"
    if not (DATA / name).exists():
        known = ", ".join(sorted(p.stem for p in (DATA / path.parent.name).glob("*.npz")))
        raise ValueError(f"the pack has no '{name}'; it has {known}")
    ours, theirs = read(DATA / name), read_foreign(path)
    if not theirs.keys() - {"inputs"}:
        raise ValueError(f"'{path}' has no arrays to compare; ours are {', '.join(ours)}")
    for array, given in theirs.items():
        if array == "inputs":
            continue
        if array not in ours:
            raise ValueError(f"'{path}' has an array {array!r}; ours are {', '.join(ours)}")
        yield _compare(name, array, ours, given)


def _compare(name: str, array: str, ours: Arrays, given: np.ndarray) -> Verdict:
    expected = ours[array]
    if given.shape != expected.shape or given.dtype != expected.dtype:
        raise ValueError(
            f"'{array}' of '{name}' is {given.dtype}{list(given.shape)}, "
            f"not {expected.dtype}{list(expected.shape)}"
        )
    if array.endswith("values"):
        given = canonical(given)
    places = np.argwhere(given != expected)
    first = ""
    if len(places):
        place = tuple(places[0].tolist())
        at = f"{place}"
        if "inputs" in ours:
            number = ours["inputs"][place].view(np.float32)
            at = f"input {number!s} (0x{int(ours['inputs'][place]):08x})"
        first = f"{at}: {int(given[place]):#x}, not {int(expected[place]):#x}"
    return Verdict(
        file=name, array=array, compared=expected.size, different=len(places), first=first
    )
