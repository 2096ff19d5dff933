"""Energy of a bit that moves between a memory device and the chip.

Each kind has a range, because sources differ by more than the formats under study do. Interface and
controller on the chip are not included.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DramEnergy:
    """Energy of a bit read or written, in pJ, with the source of the nominal value."""

    low_pj_per_bit: float
    nominal_pj_per_bit: float
    high_pj_per_bit: float
    source: str
    #: Whether the nominal value was checked against its source.
    confirmed: bool

    def energy_pj(self, traffic_bytes: float) -> tuple[float, float, float]:
        """Return the low, nominal and high energy of moving ``traffic_bytes``.

        >>> DRAM["ddr4"].energy_pj(1)
        (96, 150.0, 200)
        """
        bits = 8 * traffic_bytes
        return (
            bits * self.low_pj_per_bit,
            bits * self.nominal_pj_per_bit,
            bits * self.high_pj_per_bit,
        )


def _energy(
    low: float, nominal: float, high: float, source: str, *, confirmed: bool = False
) -> DramEnergy:
    return DramEnergy(
        low_pj_per_bit=low,
        nominal_pj_per_bit=nominal,
        high_pj_per_bit=high,
        source=source,
        confirmed=confirmed,
    )


DRAM = {
    "hbm2": _energy(3.9, 3.9, 6, "O'Connor et al., MICRO 2017: 3.92"),
    "hbm2e": _energy(3.5, 6.0, 6.3, "vendor-style table, device only"),
    "hbm3": _energy(3, 4, 9, "vendor marketing"),
    "gddr6": _energy(7, 7.5, 12, "vendor-style table"),
    "gddr6x": _energy(7, 7.25, 12, "vendor-style table"),
    "ddr4": _energy(
        12, 18.75, 25, "simulator of BitMoD, HPCA 2025: 1200 pJ a 64 bits", confirmed=True
    ),
    "ddr5": _energy(8, 12, 18, "estimate"),
    "lpddr4": _energy(4, 5, 7, "estimate"),
    "lpddr5": _energy(3, 4, 6, "estimate"),
}
