"""Hash of a PE's Verilog, by which a stored cost is known to be current."""

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numerics
import rtl
from numerics.native.kept import put_whole
from rtl.element import ProcessingElement
from rtl.verilog.emit import verilog_text


def verilog_hash(pe: ProcessingElement) -> str:
    """Return a hash of a PE's Verilog without comments, which name versions."""
    body = "\n".join(
        line for line in verilog_text(pe).splitlines() if not line.startswith(("//", "/*"))
    )
    return hashlib.sha256(body.encode()).hexdigest()


def known_verilog_hash(pe: ProcessingElement, *, memory: Path) -> str:
    """Return :func:`verilog_hash` of a PE of the catalog, kept as long as no source changes.

    Verilog of all PEs takes 20 s to write. The hashes are kept in a file of ``memory``, whose name
    has the hash of all sources of numerics and rtl and of the version of Amaranth.
    """
    path = memory / f"verilog-{_sources_hash()}.json"
    known = _read(path)
    if pe.name not in known:
        known[pe.name] = verilog_hash(pe)
        put_whole(path, json.dumps(known).encode())
    return known[pe.name]


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(found, dict) and all(isinstance(each, str) for each in found.values())
    return found if is_whole else {}


@cache
def _sources_hash() -> str:
    digest = hashlib.sha256(version("amaranth").encode())
    for package in (numerics, rtl):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
