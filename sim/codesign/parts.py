"""Area of the parts of a machine that are not PEs, and the clock of a PE. Amounts may be arrays.

Areas are those of the cell library of the records (45 nm) without wires; memories follow the macros
of :mod:`hw.sram`. Numbers of the controller and of the memory interface are assumptions, until the
generated circuits are measured.
"""

import numpy as np

from hw.sram import LEAST_BITS, macro_area_um2
from roofline.accelerator.stream import Amount

#: Area of a NAND2 and of a flip-flop in um2, library qsim45.
GATE_UM2, FLIP_FLOP_UM2 = 0.798, 4.522
#: Gates of the sequencer, descriptor fetch and registers; assumed.
CONTROLLER_GATES = 10_000
#: Gates for each bit of the bus: burst engine, alignment, unpacking; assumed.
INTERFACE_GATES_PER_BIT = 100
#: Longest macro in bits; larger buffers are banks. The laws of macros were fitted up to 80 kbit.
BANK_BITS = 65_536
#: Time of a cycle over the longest path of a PE's netlist: wires, setup and clock skew; assumed.
CLOCK_MARGIN = 1.5
#: Share of a memory's peak that decode reaches where loads overlap; assumed from documents of FPGA
#: machines with such loads, which report 0.74 to 0.95 of it.
MEMORY_EFFICIENCY = 0.85


def fastest_mhz(delay_ps: float) -> float:
    """Return the clock of a PE with a longest path of ``delay_ps``.

    >>> round(fastest_mhz(1357.0))
    491
    """
    return 1e6 / (delay_ps * CLOCK_MARGIN)


def buffer_um2(size_bytes: Amount) -> Amount:
    """Return the area of a buffer: flip-flops or banks of SRAM macros, whichever is smaller.

    >>> [round(float(buffer_um2(size))) for size in (64, 1024, 8192, 16384)]
    [2315, 5697, 32590, 65180]
    """
    bits = 8 * np.asarray(size_bytes, float)
    banks = np.maximum(1, np.ceil(bits / BANK_BITS))
    # The law of one macro, whose exponent is that of the fit.
    unit = macro_area_um2(1, LEAST_BITS)
    exponent = np.log(macro_area_um2(1, BANK_BITS) / unit) / np.log(BANK_BITS / LEAST_BITS)
    macros = banks * unit * (np.maximum(bits / banks, LEAST_BITS) / LEAST_BITS) ** exponent
    return np.minimum(bits * FLIP_FLOP_UM2, macros)


def controller_um2() -> float:
    """Return the area of the controller."""
    return CONTROLLER_GATES * GATE_UM2


def interface_um2(bus_bits: Amount) -> Amount:
    """Return the area of the memory interface on the chip, without pads and PHY."""
    return bus_bits * INTERFACE_GATES_PER_BIT * GATE_UM2


def bus_bits(bytes_per_cycle: Amount) -> Amount:
    """Return the width of the narrowest bus of a power of two of bytes with a rate.

    >>> [int(bus_bits(rate)) for rate in (0.3, 8.0, 8.5)]
    [8, 64, 128]
    """
    return 8 * 2 ** np.maximum(0, np.ceil(np.log2(bytes_per_cycle)))


def power_of_two(size_bytes: Amount) -> Amount:
    """Return a size rounded up to a power of two."""
    return 2 ** np.ceil(np.log2(size_bytes))
