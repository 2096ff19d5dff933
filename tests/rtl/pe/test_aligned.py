"""BitMoD's PE: its circuits in compiled code and proofs, and mutations that each has to notice."""

import inspect
import textwrap
from dataclasses import replace

import numpy as np
import pytest

import rtl.arithmetic.normalizer
import rtl.arithmetic.serial_terms
import rtl.pe.aligned.circuit
from numerics.pe.aligned import AlignedDot
from rtl.catalog import PES, find_pe
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove

NAMES = sorted(name for name in PES if name.endswith(("-aligned", "-nearest")))


def mutated(circuit, old, new):
    """Return a circuit whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(circuit))
    assert text.count(old) == 1
    names = dict(vars(inspect.getmodule(circuit)))
    exec(text.replace(old, new), names)
    return names[circuit.__name__]


def is_right(pe, groups=4000):
    operands = pe.random(groups, seed=1)
    with CompiledPe(pe) as model:
        found, cycles = model.run(operands)
    beats = operands["weights"].shape[1]
    assert cycles == groups * beats * pe.cycles + 1
    return np.array_equal(found, pe.golden(operands))


def test_cycles_a_beat():
    cycles = {name: find_pe(name).cycles for name in NAMES if "bitmod" in name}
    assert cycles == {
        "bitmod-fp3-aligned": 2,
        "bitmod-fp4-aligned": 2,
        "bitmod-fp4-nearest": 2,
        "bitmod-int4-aligned": 2,
        "bitmod-int5-aligned": 3,
        "bitmod-int6-aligned": 3,
        "bitmod-int8-aligned": 4,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_pe_in_compiled_code(name):
    assert is_right(find_pe(name))


@pytest.mark.parametrize(
    "name,circuit,old,new",
    [
        ("bitmod-fp4-aligned", "window_terms", "(size & ~(found << 1))[:-1]", "size[:-1]"),
        ("bitmod-int8-aligned", "BoothTerm", "bits[2] & ~bits.all()", "bits[2] & ~bits[1]"),
        ("bitmod-int5-aligned", "BoothTerm", "self.code, self.code[-1])", "self.code, 0)"),
    ],
)
def test_wrong_terms_are_refuted(monkeypatch, name, circuit, old, new):
    wrong = mutated(getattr(rtl.arithmetic.serial_terms, circuit), old, new)
    monkeypatch.setattr(rtl.arithmetic.serial_terms, circuit, wrong)
    assert not prove(find_pe(name).obligations()[0]).is_equal


@pytest.mark.parametrize(
    "name,old,new",
    [
        ("bitmod-fp4-aligned", "~self.total, self.total", "-self.total, self.total"),
        ("bitmod-fp4-nearest", "~found[-1] & found[-2]", "Const(0)"),
        ("bitmod-fp3-aligned", "len(beyond) - leading", "len(beyond) - 1 - leading"),
    ],
)
def test_wrong_accumulators_are_refuted(monkeypatch, name, old, new):
    monkeypatch.setattr(
        "rtl.pe.aligned.element.Normalizer", mutated(rtl.arithmetic.normalizer.Normalizer, old, new)
    )
    assert not prove(find_pe(name).obligations()[1]).is_equal


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,old,new",
    [
        ("bitmod-fp4-aligned", "Mux(is_larger, 0, distance)", "0"),
        ("bitmod-fp4-aligned", "sign ^ term.sign", "sign | term.sign"),
        ("bitmod-int8-aligned", "added << significance", "added << significance // 2"),
    ],
)
def test_one_wrong_place_in_the_circuit_is_noticed(monkeypatch, name, old, new):
    wrong = mutated(rtl.pe.aligned.circuit.AlignedCircuit, old, new)
    monkeypatch.setattr("rtl.pe.aligned.element.AlignedCircuit", wrong)
    assert not is_right(find_pe(name))


@pytest.mark.slow
def test_truncation_in_place_of_rounding_is_noticed(monkeypatch):
    pe = find_pe("bitmod-fp4-nearest")
    monkeypatch.setattr(
        "rtl.pe.aligned.circuit.rounded_shift", lambda m, value, places, rounding: value >> places
    )
    assert not is_right(pe)


def test_groups_that_are_too_long_are_refused():
    pe = find_pe("bitmod-fp4-aligned")
    assert isinstance(pe.model, AlignedDot)
    with pytest.raises(ValueError, match=r"take 16384 cycles; .* 15 bits is .* 8192"):
        type(pe)(name="x", source="", model=pe.model, lanes=4, length=32768).build()


def test_lanes_are_those_of_the_circuit():
    pe = replace(find_pe("bitmod-fp4-aligned"), lanes=8)
    assert pe.operand_layout["weights"].shape.length == 8 and "8 lanes" in pe.notes[1]
    column = replace(find_pe("bitmod-fp4-column"), lanes=2)
    assert column.operand_layout["activations"].shape.length == 2
    for name in ("fp16-mac", "mixpe-w4a16-running", "bitmod-dequantizer"):
        with pytest.raises(ValueError, match=r"4 lanes; .* one "):
            replace(find_pe(name), lanes=4).build()


@pytest.mark.slow
@pytest.mark.parametrize("name,lanes", [("bitmod-fp4-aligned", 8), ("bitmod-fp4-nearest", 2)])
def test_other_lanes_in_compiled_code(name, lanes):
    assert is_right(replace(find_pe(name), lanes=lanes))
