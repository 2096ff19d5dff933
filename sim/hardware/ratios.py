"""Area and energy of PEs over those of INT8 with as many MACs per cycle, scales inside both."""

from collections.abc import Iterable
from dataclasses import dataclass

from hw.pe_record import load_comparable
from rtl.catalog import PES, find_pe
from rtl.comparable import BASELINE, MACS_PER_CYCLE, comparable


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Area and energy per MAC over those of the baseline."""

    area: float
    energy: float


def ratio(name: str, macs: int) -> Ratio | None:
    """Return the ratios of a PE at ``macs`` MACs per cycle; ``None`` if it is not built so.

    >>> ratio("int8-mac", 16)
    Ratio(area=1.0, energy=1.0)
    >>> ratio("fp16-mac", 16) is None
    True
    """
    try:
        own = load_comparable(comparable(find_pe(name), macs).name)
    except ValueError:
        return None
    base = load_comparable(comparable(PES[BASELINE], macs).name)
    return Ratio(
        area=own.area_um2_per_mac / base.area_um2_per_mac,
        energy=own.energy.nominal_pj / base.energy.nominal_pj,
    )


def why_not(names: Iterable[str]) -> dict[str, list[str]]:
    """Return why some PEs are not built with the MACs per cycle of comparisons: names by reason.

    >>> why_not(["int8-mac", "fp16-mac"])
    {'its sums round, in an order that its lanes set': ['fp16-mac']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        try:
            for macs in MACS_PER_CYCLE:
                comparable(find_pe(name), macs)
        except ValueError as error:
            found.setdefault(str(error), []).append(name)
    return found
