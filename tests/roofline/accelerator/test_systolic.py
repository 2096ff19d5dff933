"""Systolic arrays: the closed form against SCALE-Sim and against a simulation cycle by cycle."""

import csv
from pathlib import Path

import numpy as np
import pytest

from roofline.accelerator.systolic import run_gemm

GOLDEN = Path(__file__).parents[2] / "golden" / "scalesim" / "cases.csv"
#: ``Total Cycles`` of SCALE-Sim 3.0.0, mode CALC: (m, k, n), then weight, output and input
#: stationary on 32 x 32, then all three on 128 x 128.
SCALE_SIM = """
32,32,32     125    93    125    413   285  413
64,64,64     631    503   631    445   317  445
128,128,128  3551   3039  3551   509   381  509
1,256,256    6079   2543  2799   1531  1019 1275
16,256,256   7039   2543  2799   1591  1019 1275
128,256,512  28415  20351 19391  4079  2039 1787
100,200,300  13579  10479 11031  2891  1361 1363
128,768,768  127871 79679 82751  18359 6131 6899
"""
KINDS = ["weight", "output", "input"]


@pytest.mark.parametrize("row", SCALE_SIM.strip().splitlines())
def test_cycles_equal_scale_sim(row):
    product, *expected = row.split()
    m, k, n = map(int, product.split(","))
    cycles = [
        run_gemm(m, k, n, rows=side, columns=side, stationary=kind).cycles
        for side in (32, 128)
        for kind in KINDS
    ]
    assert cycles == list(map(int, expected))


def test_utilization_equals_scale_sim():
    percent = [
        100 * run_gemm(128, 768, 768, rows=side, columns=side, stationary=kind).utilization
        for side in (32, 128)
        for kind in KINDS
    ]
    assert [round(x, 2) for x in percent] == [57.66, 92.53, 89.10, 25.10, 75.16, 66.79]


def golden_cases():
    with GOLDEN.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_scale_sim_on_arrays_that_are_not_square(kind):
    cases = [case for case in golden_cases() if case["stationary"] == kind]
    assert len(cases) == 54
    for case in cases:
        m, k, n, rows, columns = (int(case[x]) for x in ("m", "k", "n", "rows", "columns"))
        run = run_gemm(m, k, n, rows=rows, columns=columns, stationary=kind)
        # SCALE-Sim counts the slots in which no result has come out of the array yet.
        idle_slots = run.folds * (rows + columns) if kind == "output" else 0
        assert run.cycles == int(case["cycles"]), case
        assert run.input_reads == int(case["input_reads"]), case
        assert run.weight_reads == int(case["weight_reads"]), case
        assert run.output_writes + idle_slots == int(case["output_writes"]), case
        assert 100 * run.utilization == pytest.approx(float(case["utilization_percent"])), case
        assert 100 * run.mapping_efficiency == pytest.approx(float(case["mapping_percent"])), case


class Simulation:
    """PEs with registers, one cycle after another; counts cycles and values that enter or leave."""

    def __init__(self, a, w, *, rows, columns):
        self.a, self.w, self.rows, self.columns = a, w, rows, columns
        self.result = np.zeros((a.shape[0], w.shape[1]), np.int64)
        self.cycles = self.input_reads = self.weight_reads = self.output_writes = 0

    def output_stationary(self):
        (m, k), n = self.a.shape, self.w.shape[1]
        for i0 in range(0, m, self.rows):
            for j0 in range(0, n, self.columns):
                rows, columns = min(self.rows, m - i0), min(self.columns, n - j0)
                left = np.zeros((self.rows, self.columns), np.int64)
                top, acc = left.copy(), left.copy()
                self.input_reads += rows * k
                self.weight_reads += columns * k
                # The last PE takes its last pair when the wave has crossed the array.
                for t in range(k + self.rows + self.columns - 2):
                    left, top = np.roll(left, 1, axis=1), np.roll(top, 1, axis=0)
                    left[:, 0] = [
                        self.a[i0 + r, t - r] if r < rows and 0 <= t - r < k else 0
                        for r in range(self.rows)
                    ]
                    top[0] = [
                        self.w[t - c, j0 + c] if c < columns and 0 <= t - c < k else 0
                        for c in range(self.columns)
                    ]
                    acc += left * top
                    self.cycles += 1
                self.result[i0 : i0 + rows, j0 : j0 + columns] = acc[:rows, :columns]
                self.output_writes += rows * columns

    def weight_stationary(self):
        (m, k), n = self.a.shape, self.w.shape[1]
        for j0 in range(0, n, self.columns):
            for k0 in range(0, k, self.rows):
                rows, columns = min(self.rows, k - k0), min(self.columns, n - j0)
                weights = np.zeros((self.rows, self.columns), np.int64)
                padded = weights.copy()
                padded[:rows, :columns] = self.w[k0 : k0 + rows, j0 : j0 + columns]
                for row in padded[::-1]:
                    weights = np.vstack([row, weights[:-1]])
                    self.cycles += 1
                self.weight_reads += rows * columns
                self.input_reads += rows * m
                self._stream(weights, k0, j0, rows=rows, columns=columns)

    def _stream(self, weights, k0, j0, *, rows, columns):
        m = self.a.shape[0]
        left = np.zeros((self.rows, self.columns), np.int64)
        sums = left.copy()
        written = 0
        t = 0
        while written < m * self.columns:
            left = np.roll(left, 1, axis=1)
            left[:, 0] = [
                self.a[t - r, k0 + r] if r < rows and 0 <= t - r < m else 0
                for r in range(self.rows)
            ]
            sums = np.vstack([np.zeros(self.columns, np.int64), sums[:-1]]) + left * weights
            for c in range(self.columns):
                i = t - (self.rows - 1) - c
                if 0 <= i < m:
                    written += 1
                    if c < columns:
                        self.result[i, j0 + c] += sums[-1, c]
                        self.output_writes += 1
            t += 1
            self.cycles += 1


@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (5, 7, 3), (9, 4, 10), (2, 13, 5)])
@pytest.mark.parametrize("rows,columns", [(4, 4), (2, 5), (5, 2), (1, 3), (1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_a_simulation_of_every_register(m, k, n, rows, columns, kind):
    rng = np.random.default_rng(m * 100 + rows)
    a, w = rng.integers(-8, 8, (m, k)), rng.integers(-8, 8, (k, n))
    # With the input in the PEs, weights are what is streamed: the product is transposed.
    swapped = kind == "input"
    operands = (w.T, a.T) if swapped else (a, w)
    simulation = Simulation(*operands, rows=rows, columns=columns)
    simulation.output_stationary() if kind == "output" else simulation.weight_stationary()
    assert np.array_equal(simulation.result.T if swapped else simulation.result, a @ w)
    run = run_gemm(m, k, n, rows=rows, columns=columns, stationary=kind)
    reads = (run.weight_reads, run.input_reads) if swapped else (run.input_reads, run.weight_reads)
    assert run.cycles == simulation.cycles - 1
    assert reads == (simulation.input_reads, simulation.weight_reads)
    assert run.output_writes == simulation.output_writes


@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (5, 70, 30), (90, 4, 10)])
@pytest.mark.parametrize("kind", KINDS)
def test_double_buffers_hide_loading_behind_streaming(m, k, n, kind):
    rows, columns = 8, 5
    run = run_gemm(m, k, n, rows=rows, columns=columns, stationary=kind, timing="double-buffered")
    streamed = {"output": k, "weight": m, "input": n}[kind]
    loaded = stream_end = 0
    stream_start = 0
    for _ in range(run.folds):
        # A load may start once the fold before has moved into the PEs.
        loaded = max(loaded, stream_start) + rows
        stream_start = max(loaded, stream_end)
        stream_end = stream_start + streamed
    assert run.cycles == stream_end + rows + columns - 2


def test_results_that_stayed_in_the_pes_shift_out_in_the_papers_count():
    of = {"rows": 8, "columns": 4, "stationary": "output"}
    assert run_gemm(16, 9, 4, timing="paper", **of).cycles == 2 * (2 * 8 + 4 + 9 - 2)
    assert run_gemm(16, 9, 4, **of).cycles == 2 * (8 + 4 + 9 - 2) - 1


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match=r"^n is 0; sizes of a product and of an array are at"):
        run_gemm(1, 1, 0, rows=4, columns=4)
    with pytest.raises(ValueError, match=r"^columns is -2; "):
        run_gemm(1, 1, 1, rows=4, columns=-2)
    with pytest.raises(ValueError, match="'outputs' is not a valid Stationary"):
        run_gemm(1, 1, 1, rows=4, columns=4, stationary="outputs")
