"""The fit of efficiencies, and the points that it meets."""

import pytest

from roofline.kernels.efficiency import FILE, fitted


def test_the_fit_is_what_is_committed(tmp_path):
    from roofline.measured.calibration import write

    write(tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == FILE.read_text()


def test_the_fit_meets_the_points_of_the_gpu():
    from roofline.measured.calibration import GEMV_BF16, GEMV_W2A8

    numbers = fitted()
    rate = numbers.gpu_memory_share * 1555e9
    errors = [
        abs(numbers.gpu_native_start_cycles / 1.41e3 + rows * columns * 2e6 / rate - time_us)
        / time_us
        for rows, columns, time_us in GEMV_BF16
    ]
    assert max(errors) == pytest.approx(numbers.gpu_scatter, rel=1e-2) and max(errors) < 0.1
    narrow = numbers.gpu_expanded_bytes_per_cycle * 108 * 1.41e9
    for rows, columns, time_us in GEMV_W2A8:
        found = numbers.gpu_dequantize_start_cycles / 1.41e3 + rows * columns * 0.25e6 / narrow
        assert found == pytest.approx(time_us, rel=1e-3)
