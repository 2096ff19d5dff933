"""Resources of the parts of a machine on an FPGA, and the clock of a PE there.

PEs count as they were placed and routed alone. Numbers of the controller and of the memory
controller are assumptions, until generated circuits are placed.
"""

import numpy as np

from hw.fpga import Fpga
from hw.pe_record import FpgaCost, PeRecord
from roofline.accelerator.stream import Amount

#: Look-up tables of the sequencer, descriptor fetch and registers; assumed.
CONTROLLER_LUTS = 2000
#: Look-up tables of a controller of one DRAM chip; assumed from documents of small open
#: controllers, which report 5,600 to 8,000.
DRAM_LUTS = 7000
#: Look-up tables for each bit of the bus: alignment and unpacking; assumed.
INTERFACE_LUTS_PER_BIT = 20
#: Clock in a full device over that of a PE placed alone; assumed.
CLOCK_SHARE = 0.8


def costs(record: PeRecord, fpga: Fpga) -> tuple[FpgaCost | None, FpgaCost | None]:
    """Return a PE's costs with DSP blocks and without them; ``None`` where it was not placed."""
    placed = record.placed_on(fpga.family)
    with_dsps = next((cost for cost in placed if cost.dsps), None)
    without = next((cost for cost in placed if not cost.dsps), None)
    return with_dsps, without


def luts(record: PeRecord, count: Amount, fpga: Fpga) -> Amount:
    """Return the look-up tables of PEs: in DSP blocks as far as the device has them."""
    with_dsps, without = costs(record, fpga)
    if with_dsps is None or without is None:
        only = with_dsps or without
        return count * (only.luts if only else np.inf)
    return np.where(count * with_dsps.dsps <= fpga.dsps, with_dsps.luts, without.luts) * count


def dsps(record: PeRecord, count: Amount, fpga: Fpga) -> Amount:
    """Return the DSP blocks of PEs."""
    with_dsps, without = costs(record, fpga)
    if with_dsps is None:
        return count * 0
    needed = count * with_dsps.dsps
    return needed if without is None else np.where(needed <= fpga.dsps, needed, 0)


def fastest_mhz(record: PeRecord, fpga: Fpga) -> float:
    """Return the clock of a PE in a device, by the slower of its placements; 0 without one.

    >>> from hw.fpga import FPGAS
    >>> from hw.pe_record import load_record
    >>> round(fastest_mhz(load_record("mixpe-w4a8-int8"), FPGAS["ecp5-85"]), 1)
    47.7
    """
    found = [cost.fmax_mhz for cost in costs(record, fpga) if cost is not None]
    return CLOCK_SHARE * min(found, default=0.0)
