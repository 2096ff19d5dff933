"""The kind of memory of this machine, where Linux lets the user read it."""

import re
from pathlib import Path

from hw.dram import DRAM

#: Memory types of devices in SMBIOS (DSP0134, section 7.18.2).
SMBIOS_TYPES = {
    0x1A: "ddr4",
    0x1E: "lpddr4",
    0x21: "hbm2",
    0x22: "ddr5",
    0x23: "lpddr5",
    0x24: "hbm3",
}
#: Offset of the type in an SMBIOS record of a memory device (type 17).
TYPE_OFFSET = 0x12
SYSTEM = Path("/sys")


def installed_dram(system: Path = SYSTEM) -> str | None:
    """Return a key of :data:`hw.dram.DRAM`; None where the system does not report it.

    Firmware records can be read by the superuser only; the error correction (EDAC) of servers
    reports its memory to all users.
    """
    records = sorted(system.glob("firmware/dmi/entries/17-*/raw"))
    names = [_firmware_type(path) for path in records]
    names += [
        dram_of_edac(_read(path).decode("ascii", "replace"))
        for path in sorted(system.glob("devices/system/edac/mc/mc*/*/dimm_mem_type"))
    ]
    return next((name for name in names if name in DRAM), None)


def _firmware_type(path: Path) -> str | None:
    record = _read(path)
    return SMBIOS_TYPES.get(record[TYPE_OFFSET]) if len(record) > TYPE_OFFSET else None


def dram_of_edac(text: str) -> str | None:
    """Return the kind of memory of a name in Linux's ``edac_mem_types``.

    >>> [dram_of_edac(x) for x in ("Registered-DDR5", "Low-Power-DDR4-RAM", "Empty")]
    ['ddr5', 'lpddr4', None]
    """
    match = re.search(r"(low-power-)?ddr(\d)|bandwidth-memory-gen(\d)", text.lower())
    if match is None:
        return None
    return f"hbm{match[3]}" if match[3] else f"{'lp' if match[1] else ''}ddr{match[2]}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
