"""FPGAs by name: the resources of a device, from its maker's data sheet."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fpga:
    """An FPGA device."""

    name: str
    #: Family in the records of PEs.
    family: str
    #: Number of 4-input look-up tables, of DSP blocks, and bytes of block RAM.
    luts: int
    dsps: int
    ram_bytes: int
    source: str


_ECP5 = "ECP5 and ECP5-5G Family Data Sheet, FPGA-DS-02012, table 1.1, recalled"
FPGAS = {
    device.name: device
    for device in (
        Fpga(
            name="ice40up5k",
            family="ice40",
            luts=5280,
            dsps=8,
            ram_bytes=30 * 512 + 4 * 32_768,
            source="iCE40 UltraPlus Family Data Sheet, FPGA-DS-02008, table 1.1, recalled",
        ),
        Fpga(
            name="ecp5-25", family="ecp5", luts=24_288, dsps=28, ram_bytes=56 * 2304, source=_ECP5
        ),
        Fpga(
            name="ecp5-45", family="ecp5", luts=43_848, dsps=72, ram_bytes=108 * 2304, source=_ECP5
        ),
        Fpga(
            name="ecp5-85", family="ecp5", luts=83_640, dsps=156, ram_bytes=208 * 2304, source=_ECP5
        ),
    )
}
