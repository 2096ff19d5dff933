"""The kind of memory, as the firmware and Linux report it."""

import pytest

from hw.dram import DRAM
from hw.installed import SMBIOS_TYPES, installed_dram


def test_nothing_to_read_is_not_known(tmp_path):
    assert installed_dram(tmp_path) is None
    assert set(SMBIOS_TYPES.values()) <= set(DRAM)


@pytest.mark.parametrize("code,name", [(0x1A, "ddr4"), (0x23, "lpddr5"), (0x18, None), (2, None)])
def test_the_firmware_reports_the_type_of_a_memory_device(tmp_path, code, name):
    empty, full = (tmp_path / f"firmware/dmi/entries/17-{n}" for n in range(2))
    for folder, record in ((empty, bytes(4)), (full, bytes([17, 92]) + bytes(16) + bytes([code]))):
        folder.mkdir(parents=True)
        (folder / "raw").write_bytes(record)
    assert installed_dram(tmp_path) == name


def test_the_memory_type_is_read_from_edac(tmp_path):
    for place, text in (("dimm0", "Empty\n"), ("dimm3", "Unbuffered-DDR5\n")):
        folder = tmp_path / "devices/system/edac/mc/mc0" / place
        folder.mkdir(parents=True)
        (folder / "dimm_mem_type").write_text(text)
    assert installed_dram(tmp_path) == "ddr5"
