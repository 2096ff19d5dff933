"""Messages between machines."""

import pytest

from hw.machine import load_machine
from roofline.time.links import PCIE_LATENCY_US, all_gather_s, all_reduce_s, send_s


def test_messages():
    machine = load_machine("h100-sxm")
    # 18 NVLinks of 25 GB/s in one direction, of which messages get 20.
    rate, latency = 18 * 20e9, 1e-6
    assert all_reduce_s(machine, 4, 1e6) == pytest.approx(5e-6 + 6 * latency + 1.5 * 1e6 / rate)
    assert all_gather_s(machine, 4, 1e6) == pytest.approx(5e-6 + 3 * latency + 0.75e6 / rate)
    assert send_s(machine, 1e6) == pytest.approx(latency + 1e6 / rate)
    assert all_reduce_s(machine, 1, 1e6) == all_gather_s(machine, 1, 1e6) == 0
    # PCIe 4.0 x16 has 32 GB/s in one direction, and messages get three quarters.
    slower = PCIE_LATENCY_US * 1e-6
    assert send_s(load_machine("l40s"), 1e6) == pytest.approx(slower + 1e6 / 24e9)
    # Two A6000 are connected by an NVLink bridge, four by PCIe.
    a6000 = load_machine("rtx-a6000")
    assert all_gather_s(a6000, 2, 2e6) == pytest.approx(5e-6 + latency + 1e6 / (0.8 * 56e9))
    assert all_gather_s(a6000, 4, 4e6) == pytest.approx(5e-6 + 3 * (slower + 1e6 / 24e9))
    # NCCL took 13.6 us for 4 RTX PRO 6000 and 54.2 us for 8 RTX 3090.
    assert all_gather_s(a6000, 4, 8192.0) == pytest.approx(13.6e-6, rel=0.1)
    assert all_reduce_s(load_machine("rtx-3090"), 8, 8.0) == pytest.approx(54.2e-6, rel=0.12)
