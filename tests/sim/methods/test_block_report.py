"""Progress of a pass: the output error of float64, and that of all matrices so far."""

import numpy as np
import pytest

from sim.methods.block_report import BlockReports, output_error


def test_the_output_error_is_relative_to_the_power_of_the_outputs():
    random = np.random.default_rng(0)
    weight, x = random.normal(size=(24, 16)), random.normal(size=(100, 16))
    rounded = weight + 0.1 * random.normal(size=weight.shape)
    expected = np.square(x @ (rounded - weight).T).sum() / np.square(x @ weight.T).sum()
    found = output_error(weight.astype(np.float32), rounded.astype(np.float32), x.T @ x)
    assert found == pytest.approx(expected, rel=1e-5)
    assert output_error(np.float32([[0, 0]]), np.float32([[1, 1]]), np.eye(2)) == 0


def test_each_block_is_reported_with_the_mean_error_so_far():
    lines = []
    reports = BlockReports(4, lambda *line: lines.append(line))
    reports.add(1, {"mlp.down_proj": 0.02})
    reports.add(2, {"mlp.down_proj": 0.03, "mlp.up_proj": 0.01})
    assert lines == [
        ("block 2/4, output error 2.00 %", 2),
        ("block 3/4, output error 2.00 %", 3),
    ]
