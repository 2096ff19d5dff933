"""Refusal of results stores on network file systems, where SQLite's locks do not hold.

https://www.sqlite.org/howtocorrupt.html, section 2.1: with locks that are missing or broken, two
writers destroy the file.
"""

import re
from pathlib import Path

from sim.errors import UserError

#: Types of file systems in /proc/self/mounts whose locks SQLite cannot rely on.
NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "fuse.sshfs", "fuse.rclone",
    "fuse.s3fs", "fuse.gcsfuse", "fuse.davfs2", "fuse.glusterfs",
}  # fmt: skip
#: Mounts of this process; Linux only.
MOUNTS = Path("/proc/self/mounts")


def refuse_network(directory: Path) -> None:
    """Raise UserError for a directory on a network file system; it need not exist."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    mount = _mount_of(directory.resolve(), mounts)
    if mount is not None and mount[1] in NETWORK:
        raise UserError(
            f"--out {directory} is on a network file system ({mount[1]} at {mount[0]}), where the "
            f"locks of SQLite do not hold; give a local directory, and for several machines "
            f"--shard 1/n to n/n with a local --out each, joined by qsim merge"
        )


def _mount_of(directory: Path, mounts: str) -> tuple[Path, str] | None:
    """Return the mount point and type of a directory's file system; ``None`` if unknown.

    Of mounts at the same place the last is visible.
    """
    found: tuple[Path, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        is_deeper = found is None or len(place.parts) >= len(found[0].parts)
        if directory.is_relative_to(place) and is_deeper:
            found = place, fields[2]
    return found
