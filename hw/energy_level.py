"""Level of the energies of PEs: how far they are above a published multiply-add, and why.

Records have the energy of a standard-cell netlist at 1.10 V with registers and glitches. Horowitz,
ISSCC 2014, has 0.2 pJ for an 8-bit multiplication and 0.1 pJ for a 32-bit addition at 45 nm and
0.9 V, without registers. The quotient is a product of four factors, which are computed from the
record of ``int8-mac``. The energies of whole machines have the same level. Other libraries give
other levels and nearly the same ratios between PEs: ``reports/pe_energy``.
"""

from dataclasses import dataclass

from hw.pe_record import load_record

#: Energy in fJ of an 8-bit multiplication and a 32-bit addition at 45 nm, 0.9 V; Horowitz, ISSCC
#: 2014, figure 1.1.9.
HOROWITZ_FJ, HOROWITZ_V = 200.0 + 100.0, 0.9
#: Supply voltage of the records' cell library.
RECORD_V = 1.10


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyLevel:
    """Energy of ``int8-mac`` over that of the published multiply-add, as a product of factors."""

    #: Square of the ratio of supply voltages.
    voltage: float
    #: Clock pins of the accumulator and the result register.
    registers: float
    #: Changes of nets within a cycle, by the delays of the cells.
    glitches: float
    #: Remaining quotient: library cells of drive X1, not sized or chosen for power.
    cells: float

    @property
    def total(self) -> float:
        """Product of the factors."""
        return self.voltage * self.registers * self.glitches * self.cells


def energy_level() -> EnergyLevel:
    """Return the level of the stored record of ``int8-mac``.

    >>> level = energy_level()
    >>> round(level.total, 1), round(level.voltage, 2)
    (8.3, 1.49)
    """
    record = load_record("int8-mac")
    low, nominal = record.energy_no_delay_fj_per_mac, record.energy_gate_delay_fj_per_mac
    clock = record.clock_fj_per_mac
    assert low is not None and nominal is not None and clock is not None
    voltage = (RECORD_V / HOROWITZ_V) ** 2
    return EnergyLevel(
        voltage=voltage,
        registers=nominal / (nominal - clock),
        glitches=(nominal - clock) / (low - clock),
        cells=(low - clock) / (voltage * HOROWITZ_FJ),
    )


def level_note() -> str:
    """Return the level as sentences for pages and tables that show joules.

    >>> level_note()[:46]
    'PE energies are of cells at 1.10 V: int8-mac t'
    """
    level = energy_level()
    return (
        f"PE energies are of cells at {RECORD_V:.2f} V: int8-mac takes {level.total:.1f} x the"
        f" {HOROWITZ_FJ / 1000:.1f} pJ of Horowitz (ISSCC 2014, 45 nm, {HOROWITZ_V:g} V) ="
        f" {level.voltage:.1f} voltage x {level.registers:.1f} registers x {level.glitches:.1f}"
        f" glitches x {level.cells:.1f} cells. Ratios between PEs are more certain than the level."
    )
