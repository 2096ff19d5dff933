"""Delays of gates: pulses that pass or don't, and an event queue as an oracle."""

import heapq

import numpy as np
import pytest

from rtl.cost.cells import LIBERTY
from rtl.cost.delays import RESOLUTION, Propagation, gate_delays_ps
from rtl.cost.gates import read_gates
from rtl.cost.library import read_library
from rtl.cost.packed import ones, pack, unpack
from rtl.cost.synthesis import Netlist
from rtl.toolchain import ToolError

LIBRARY = read_library(LIBERTY)
GATES = [name for name, cell in LIBRARY.cells.items() if not cell.is_flip_flop]
#: Resolution of time in ps: a share of the inverter's delay.
STEP_PS = RESOLUTION * 12


def netlist(inputs, cells):
    """Return gates on the nets 2, 3, ...: the inputs, then the output of each (type, nets)."""
    placed = {
        f"g{i}": {
            "type": kind,
            "connections": {
                **{pin: [net] for pin, net in zip(LIBRARY.cells[kind].inputs, nets, strict=True)},
                "Y": [2 + inputs + i],
            },
        }
        for i, (kind, nets) in enumerate(cells)
    }
    ports = {"x": {"bits": [2 + i for i in range(inputs)]}}
    module = {"ports": ports, "cells": placed}
    found = read_gates(Netlist(recipe="", area_um2=0.0, module=module), LIBRARY)
    # Nets are numbered by first appearance; the cells of a type follow each other.
    places = {}
    for kind in dict.fromkeys(kind for kind, _ in cells):
        outputs = next(a.outputs for a in found.gates if a.cell.name == kind)
        places |= dict(
            zip((i for i, (k, _) in enumerate(cells) if k == kind), outputs.tolist(), strict=True)
        )
    return found, places


def settled(gates, bits):
    nets = np.zeros((gates.nets, 1), np.uint64)
    nets[1] = np.invert(nets[1])
    nets[gates.ports["x"]] = pack(bits)
    for _ in range(gates.nets):
        for array in gates.gates:
            nets[array.outputs] = array.values(nets)
    return nets


def changes(gates, before, after, **options):
    """Return the changes of all nets, and their final values, when inputs change."""
    nets = settled(gates, before)
    nets[gates.ports["x"]] = pack(after)
    counted = pack(np.ones((1, before.shape[1]), bool))
    found = Propagation(gates, **options).settle(nets, counted)
    assert np.array_equal(nets & counted, settled(gates, after) & counted)
    return found


RISE = np.zeros((1, 1), bool), np.ones((1, 1), bool)


def test_a_pulse_shorter_than_a_gate_is_filtered_and_a_longer_one_passes():
    for inverters, inertial, transport in ((1, 0, 2), (5, 2, 2)):
        chain = [("INV", [2 + i]) for i in range(inverters)]
        gates, places = netlist(1, [*chain, ("AND2", [2, 2 + inverters])])
        output = places[inverters]
        assert changes(gates, *RISE)[output] == inertial
        assert changes(gates, *RISE, is_inertial=False)[output] == transport


def test_a_delay_is_the_cells_at_its_usual_load_and_grows_with_the_load():
    loads = [1, 2, 8]
    delays = []
    for load in loads:
        gates, places = netlist(1, [("INV", [2]), *[("INV", [3])] * load])
        delays.append(gate_delays_ps(gates)[places[0]])
    # Two median inputs load an output as tables are read at.
    median = np.median([c for cell in LIBRARY.cells.values() for c in cell.inputs.values()])
    expected = [12 + 0.6 * 12 * (1.7 * load / (2 * median) - 1) for load in loads]
    assert delays == pytest.approx(expected)


def event_driven(gates, delays, nets):
    """Return the changes of all nets by a queue of events, one stream at a time."""
    driver = {out: (array, i) for array in gates.gates for i, out in enumerate(array.outputs)}
    readers = {}
    for out, (array, i) in driver.items():
        for net in array.inputs[:, i]:
            readers.setdefault(int(net), []).append(out)
    steps = {out: max(1, round(delays[out] / STEP_PS)) for out in driver}
    counts = np.zeros(gates.nets)

    def function(out, values):
        array, i = driver[out]
        given = dict(zip(array.cell.inputs, values[array.inputs[:, i]][:, None], strict=True))
        return bool(array.function(given)[0])

    for stream in range(nets.shape[1]):
        values, pending, queue, order = nets[:, stream].copy(), {}, [], 0
        touched, now = set(driver), 0
        while touched or queue:
            for out in touched:
                wanted = function(out, values)
                if wanted == values[out]:
                    pending.pop(out, None)
                elif out not in pending:
                    order += 1
                    pending[out] = order
                    heapq.heappush(queue, (now + steps[out], order, out))
            touched = set()
            if not queue:
                break
            now = queue[0][0]
            while queue and queue[0][0] == now:
                _, number, out = heapq.heappop(queue)
                if pending.get(out) == number:
                    del pending[out]
                    values[out] = not values[out]
                    counts[out] += 1
                    touched |= set(readers.get(out, ()))
    return counts


def test_changes_are_those_of_an_event_queue():
    random, inputs, streams = np.random.default_rng(0), 6, 5
    cells = []
    for i in range(90):
        kind = GATES[random.integers(len(GATES))]
        # Nets of the last gates make deep logic.
        low = max(2, 2 + inputs + i - 12)
        cells.append((kind, random.integers(low, 2 + inputs + i, len(LIBRARY.cells[kind].inputs))))
    cells = [(kind, nets.tolist()) for kind, nets in cells]
    gates, _ = netlist(inputs, cells)
    before, after = random.integers(0, 2, (2, inputs, streams)).astype(bool)
    found = changes(gates, before, after)
    nets = settled(gates, before)
    nets[gates.ports["x"]] = pack(after)
    expected = event_driven(gates, gate_delays_ps(gates), unpack(nets, streams))
    assert found.sum() > 3 * ones(nets ^ settled(gates, after)).sum() / 2
    assert np.array_equal(found, expected)


def test_a_loop_does_not_settle():
    gates, _ = netlist(1, [("NAND2", [2, 5]), ("INV", [3]), ("INV", [4])])
    nets = np.zeros((gates.nets, 1), np.uint64)
    nets[gates.ports["x"]] = pack(np.ones((1, 1), bool))
    with pytest.raises(ToolError, match="combinational loop"):
        Propagation(gates).settle(nets, pack(np.ones((1, 1), bool)))


def test_words_hold_the_bits_of_streams():
    bits = np.random.default_rng(0).integers(0, 2, (3, 130)).astype(bool)
    words = pack(bits)
    assert words.shape == (3, 3) and np.array_equal(unpack(words, 130), bits)
    assert ones(words).tolist() == bits.sum(axis=1).tolist()
