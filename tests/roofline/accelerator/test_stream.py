"""The schedule of a machine that follows the weight stream, against a walk over its beats."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.accelerator.stream import (
    Geometry,
    Product,
    Timing,
    check_drain,
    drains_in_time,
    schedule,
)


def walk(product: Product, machine: Geometry, *, holds: bool) -> int:
    """Return the cycles by starting every beat when the beat before and its codes are there."""
    t, rate = machine.timing, machine.bytes_per_cycle
    length = product.group or product.inputs
    groups = [min(length, product.inputs - start) for start in range(0, product.inputs, length)]
    beats = sum(math.ceil(g / machine.lanes) for g in groups)
    total = 0
    at_once = product.tokens if holds else machine.columns
    for start in range(0, product.tokens, at_once):
        tokens = min(at_once, product.tokens - start)
        now = (
            t.start
            + math.ceil(math.ceil(tokens * product.inputs * product.activation_bits / 8) / rate)
            + t.latency
        )
        begin, arrived = now, 0.0
        for row in range(0, product.outputs, machine.rows):
            rows = min(machine.rows, product.outputs - row)
            codes = beats * machine.lanes * product.code_bits + len(groups) * product.side_bits
            size = math.ceil(rows * codes / 8)
            for block in range(math.ceil(tokens / machine.columns)):
                for beat in range(1, beats + 1):
                    there = begin + math.ceil((arrived + size * beat / beats) / rate)
                    now = max(now, there if block == 0 else 0) + machine.beat_cycles
                now += t.gap
            arrived += size
        results = rows * (tokens - block * machine.columns) * 4
        total += now - t.gap + t.drain + math.ceil(results / rate)
    return total


sizes = st.integers(1, 70)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    sizes, sizes, st.integers(1, 5), st.integers(1, 8), st.sampled_from([0, 16, 32]),
    st.sampled_from([1, 3, 8]), st.sampled_from([1, 2, 4]), st.integers(1, 3),
    st.sampled_from([1, 4, 16]), st.integers(1, 3), st.sampled_from([0.5, 1, 2, 8, 64]),
    st.integers(0, 3), st.booleans(),
)  # fmt: skip
def test_the_closed_form_is_the_walk_over_every_beat(
    inputs, outputs, tokens, bits, side, rows, columns, beat_cycles, lanes, group, rate, gap, holds
):
    product = Product(
        tokens=tokens, inputs=inputs, outputs=outputs, code_bits=bits, side_bits=side,
        group=group * lanes, activation_bits=8,
    )  # fmt: skip
    machine = Geometry(
        rows=rows, columns=columns, lanes=lanes, beat_cycles=beat_cycles, bytes_per_cycle=rate,
        timing=Timing(start=2, latency=5, gap=gap, drain=3),
    )  # fmt: skip
    held = tokens + columns if holds else None
    found = schedule(product, machine, holds_tile=holds, tokens_held=held)
    assert found.cycles == walk(product, machine, holds=holds)


def test_arrays_of_machines_are_scheduled_like_each_machine():
    product = Product(
        tokens=1, inputs=576, outputs=1536, code_bits=4, side_bits=16, group=128, activation_bits=8
    )
    rows, rates = np.array([4, 16, 64])[:, None], np.array([1.0, 8.0])
    together = schedule(product, Geometry(rows=rows, lanes=16, bytes_per_cycle=rates)).cycles
    for i, j in np.ndindex(3, 2):
        one = Geometry(rows=int(rows[i, 0]), lanes=16, bytes_per_cycle=float(rates[j]))
        assert together[i, j] == schedule(product, one).cycles


def test_arrays_of_columns_read_weights_as_often_as_each_machine():
    product = Product(tokens=5, inputs=64, outputs=40, code_bits=4, activation_bits=8)
    columns = np.array([1, 2, 4, 8])
    together = schedule(product, Geometry(rows=8, columns=columns, lanes=16, bytes_per_cycle=4.0))
    for i, count in enumerate(columns):
        machine = Geometry(rows=8, columns=int(count), lanes=16, bytes_per_cycle=4.0)
        assert together.cycles[i] == walk(product, machine, holds=False)


def test_a_slow_memory_takes_the_time_of_its_bytes_and_a_fast_one_that_of_the_beats():
    product = Product(tokens=1, inputs=512, outputs=512, code_bits=4, activation_bits=8)
    slow = schedule(product, Geometry(rows=4, lanes=16, bytes_per_cycle=1.0))
    assert 0 <= slow.cycles - slow.memory_cycles < 100
    fast = schedule(product, Geometry(rows=4, lanes=16, bytes_per_cycle=1024.0))
    assert fast.busy_cycles == 512 / 4 * 32
    assert 0 <= fast.cycles - fast.busy_cycles < 200


def test_results_that_leave_more_slowly_than_a_tile_runs_are_refused():
    product = Product(tokens=1, inputs=64, outputs=512, code_bits=4, activation_bits=8)
    machine = Geometry(rows=128, lanes=16, bytes_per_cycle=8.0)
    assert not drains_in_time(product, machine)
    with pytest.raises(
        ValueError, match=r"results of 128 rows leave in 68 cycles and a tile of 64"
    ):
        check_drain(product, machine)
