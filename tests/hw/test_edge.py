"""The accelerator of our own PEs has the numbers that were measured of them."""

import pytest

from hw.accelerator import load_accelerator
from hw.pe_record import load_record


def test_edge_is_made_of_the_measured_pe():
    machine, record = load_accelerator("edge-8x8"), load_record("mixpe-w4a8")
    assert machine.pe_area_um2 == record.area_um2 and machine.lanes == record.macs_per_cycle
    energy_pj = record.energy_no_delay_fj_per_mac * record.lanes / 1000
    assert machine.pe_energy_pj_per_cycle == pytest.approx(energy_pj, abs=1e-6)
    assert machine.array_area_mm2 == pytest.approx(64 * record.area_um2 / 1e6)
    # A cycle is longer than the longest path.
    assert 1e6 / machine.clock_mhz > record.delay_ps
