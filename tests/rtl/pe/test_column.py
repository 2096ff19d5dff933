"""BitMoD's PE with its dequantizer: no stalls between groups, and exact results."""

import inspect

import numpy as np
import pytest

import rtl.pe.column.circuit
from rtl.catalog import find_pe
from rtl.toolchain import ToolError
from rtl.verification.compiled import CompiledPe

PE = find_pe("bitmod-fp4-column")


def run(operands, **patterns):
    """Return whether all results are right, and the cycles they took."""
    with CompiledPe(PE) as model:
        found, cycles = model.run(operands, **patterns)
    return np.array_equal(found, PE.golden(operands)), cycles


@pytest.mark.slow
def test_the_dequantizer_is_hidden_behind_groups_of_eight_cycles():
    operands = PE.random(300, seed=0)
    groups, beats, _ = operands["weights"].shape
    assert operands["ends_group"][0, :, 0].tolist() == [0, 0, 0, 1] * 3
    # Two cycles per beat for any scale, then eight cycles for the last group's scale.
    assert run(operands) == (True, groups * beats * 2 + PE.latency)


@pytest.mark.slow
@pytest.mark.parametrize(
    "old,new",
    [
        ("self.operands.ready & ends_group", "ends_group"),
        ("ends_channel.eq(beat.last)", "ends_channel.eq(1)"),
        ("beat.ends_group | beat.last", "beat.last"),
        ("scale.eq(beat.scale)", "scale.eq(beat.scale | 1)"),
    ],
)
def test_one_wrong_place_is_noticed(monkeypatch, old, new):
    text = inspect.getsource(rtl.pe.column.circuit.Column)
    assert text.count(old) == 1
    names = dict(vars(rtl.pe.column.circuit))
    exec(text.replace(old, new), names)
    monkeypatch.setattr("rtl.pe.column.element.Column", names["Column"])
    takes = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    try:
        is_right, _ = run(PE.random(200, seed=1), takes=takes)
    except ToolError:
        is_right = False
    assert not is_right


def test_channels_with_different_groups_are_refused():
    operands = PE.random(2, seed=0)
    operands["ends_group"] = operands["ends_group"].copy()
    operands["ends_group"][1, 0] = 1
    with pytest.raises(ValueError, match=r"^channels end their groups in different beats; pass"):
        PE.golden(operands)
