"""Block-scaled dot products: every kind of scale, compiled small PEs, and mutations."""

import dataclasses
import inspect
import textwrap

import numpy as np
import pytest

import rtl.arithmetic.scalers
from numerics import FORMATS
from numerics.pe.block_scale import BlockScaled
from rtl.arithmetic.scalers import ScaleValue, Shifted
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove
from rtl.verilog.emit import verilog_text

NAMES = ["mixpe-w4a8-int8", "mixpe-w4a8-shift", "mixpe-w4a8-fp16", "mxfp4-dot", "nvfp4-dot"]


def small(name):
    """Return the PE with two beats a block and two lanes."""
    pe = find_pe(name)
    model = dataclasses.replace(pe.model, block=4)
    return dataclasses.replace(pe, model=model, lanes=2, length=16)


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
def test_blocks_and_a_last_one_cut_short(name):
    pe = small(name)
    takes = np.array([0, 0, 1, 0, 1])
    with CompiledPe(pe) as model:
        for operands in (pe.random(5000, seed=0), pe.corners(), pe.typical(50, seed=0)):
            found, cycles = model.run(operands)
            groups, beats, _ = operands["weights"].shape
            assert np.array_equal(found, pe.golden(operands)) and cycles == groups * beats + 2
        few = {name: codes[:300, :1] for name, codes in pe.random(300, seed=1).items()}
        assert np.array_equal(model.run(few, takes=takes)[0], pe.golden(few))


@pytest.mark.slow
def test_every_weight_activation_and_integer_scale():
    pe = find_pe("mixpe-w4a8-int8")
    pe = dataclasses.replace(pe, model=dataclasses.replace(pe.model, block=1), lanes=1, length=1)
    numbers = np.arange(1 << 20).reshape(-1, 1, 1)
    parts = numbers >> 16, numbers >> 8 & 255, numbers & 255
    operands = dict(zip(("weights", "activations", "scales"), parts, strict=True))
    with CompiledPe(pe) as model:
        assert np.array_equal(model.run(operands)[0], pe.golden(operands))


@pytest.mark.parametrize(
    "old,new",
    [
        ("shift > highest, highest, shift", "shift > highest, 0, shift"),
        ("shift < 0, self.total >> right", "shift < 0, -(-self.total >> right)"),
        ("code != NAN_CODE", "code != 0"),
        ("-shift > width, width, -shift", "-shift > width, 1, -shift"),
    ],
)
def test_a_wrong_shift_is_refuted(old, new):
    pe = find_pe("mixpe-w4a8-shift")
    _, shifted = pe.obligations()
    wrong = mutated(Shifted, old, new)
    assert not prove(dataclasses.replace(shifted, circuit=lambda: wrong(pe.model))).is_equal


def test_a_wrong_scale_is_refuted():
    pe = find_pe("nvfp4-dot")
    _, value, _ = pe.obligations()
    wrong = mutated(ScaleValue, "<< shift", "<< (shift | 1)")
    circuit = dataclasses.replace(value, circuit=lambda: wrong(FORMATS["fp8_e4m3"]))
    assert not prove(circuit).is_equal


def mutated(circuit, old, new):
    """Return a circuit whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(circuit))
    assert text.count(old) == 1
    names = dict(vars(rtl.arithmetic.scalers))
    exec(text.replace(old, new), names)
    return names[circuit.__name__]


def test_what_does_not_fit():
    pe = find_pe("mxfp4-dot")
    with pytest.raises(ValueError, match="24 lanes, blocks of 32 and groups of 128 values; each"):
        verilog_text(dataclasses.replace(pe, lanes=24))
    int8, fp16 = FORMATS["int8"], FORMATS["fp16"]
    model = BlockScaled(weights=int8, activations=int8, scales=(int8, fp16), block=32)
    with pytest.raises(ValueError, match="several of the same width"):
        verilog_text(dataclasses.replace(pe, model=model))
