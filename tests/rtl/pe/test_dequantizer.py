"""BitMoD's dequantizer: its circuits, and mutations that each has to notice."""

import inspect
import textwrap

import numpy as np
import pytest

import rtl.pe.dequantizer.circuit
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove

PE = find_pe("bitmod-dequantizer")


def mutated(circuit, old, new):
    """Return a circuit whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(circuit))
    assert text.count(old) == 1
    names = dict(vars(inspect.getmodule(circuit)))
    exec(text.replace(old, new), names)
    return names[circuit.__name__]


def is_right(operands, optimize="-O1"):
    with CompiledPe(PE, optimize=optimize) as model:
        found, cycles = model.run(operands)
    groups, count, _ = operands["scale"].shape
    assert cycles == groups * count * 8 + 1
    return np.array_equal(found, PE.golden(operands))


@pytest.mark.slow
def test_a_wrong_number_of_fp32_is_refuted(monkeypatch):
    wrong = mutated(rtl.pe.dequantizer.circuit.Fp32Group, "-self.product, ", "~self.product, ")
    monkeypatch.setattr("rtl.pe.dequantizer.element.Fp32Group", wrong)
    assert not prove(PE.obligations()[0]).is_equal


@pytest.mark.slow
def test_eight_cycles_a_group():
    assert is_right(PE.random(2000, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "old,new",
    [
        ("reversed(beat.scale)", "beat.scale"),
        ("before.product << 1", "before.product << 0"),
        ("Cat(Mux(is_last, 0, product), total)", "Cat(product, total)"),
        ("adder.a.eq(before.total)", "adder.a.eq(0)"),
    ],
)
def test_one_wrong_place_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr(
        "rtl.pe.dequantizer.element.Dequantizer",
        mutated(rtl.pe.dequantizer.circuit.Dequantizer, old, new),
    )
    assert not is_right(PE.random(500, seed=1))


@pytest.mark.slow
def test_every_mantissa_times_every_scale():
    pairs = np.arange(2**23, dtype=np.int32).reshape(-1, 1, 1)
    assert is_right(
        {
            "mantissa": (pairs >> 8) - 2**14,
            "exponent": np.full_like(pairs, 20),
            "scale": pairs & 255,
        },
        optimize="-O3",
    )
