"""Bit-serial dot products of nested codes: every input, cycles, and mutations."""

import dataclasses
import inspect
import textwrap

import numpy as np
import pytest
from amaranth.hdl import Module

import rtl.pe.bit_planes.circuit
from rtl.catalog import find_pe
from rtl.pe.bit_planes.circuit import BitPlanes, SignedSum
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove
from rtl.verilog.emit import verilog_text

PE = find_pe("nested-planes")


@pytest.mark.slow
def test_every_code_activation_and_number_of_planes():
    single, operands = PE.every_input()
    with CompiledPe(single) as model:
        found, _ = model.run(operands)
    assert len(found) == 1 << 19 and np.array_equal(found, single.golden(operands))


def test_a_plane_takes_a_cycle():
    pe = dataclasses.replace(PE, lanes=2)
    with CompiledPe(pe) as model:
        for operands in (pe.random(2000, seed=0), pe.corners()):
            found, cycles = model.run(operands)
            assert np.array_equal(found, pe.golden(operands))
            assert cycles == (8 - operands["left_out"].astype(int)).sum() + 1
        mixed = pe.random(2000, seed=1)
        mixed["left_out"] = np.random.default_rng(2).integers(0, 8, mixed["left_out"].shape)
        assert np.array_equal(model.run(mixed)[0], pe.golden(mixed))


def test_corners_fill_the_result():
    found = PE.golden(PE.corners())
    assert found.max() == 255 * 128 * 128 and found.min() == -255 * 128 * 128
    assert PE.result_shape.width == (255 * 128 * 128).bit_length() + 1


class NoOnes(SignedSum):
    """Inverted activations without the ones that make them negatives."""

    def elaborate(self, platform):
        m = Module()
        inverted = [
            self.activations[i] ^ (~self.bits[i]).replicate(8).as_signed() for i in range(3)
        ]
        m.d.comb += self.total.eq(sum(inverted))
        return m


def test_negatives_without_their_ones_are_refuted():
    (obligation,) = PE.obligations()
    assert prove(obligation).is_equal
    assert not prove(dataclasses.replace(obligation, circuit=lambda: NoOnes(3))).is_equal


@pytest.mark.slow
@pytest.mark.parametrize("old,new", [("PARENT_BITS - 1 - cycle", "cycle"), ("<< 1", "<< 2")])
def test_planes_in_another_order_or_weight_are_noticed(monkeypatch, old, new):
    monkeypatch.setattr(BitPlanes, "add", mutated(BitPlanes.add, old, new))
    single, operands = PE.every_input()
    with CompiledPe(single) as model:
        found, _ = model.run(operands)
    assert not np.array_equal(found, single.golden(operands))


def mutated(method, old, new):
    """Return a method whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(method))
    assert text.count(old) == 1
    names = dict(vars(rtl.pe.bit_planes.circuit))
    exec(text.replace(old, new), names)
    return names[method.__name__]


def test_lanes_that_fit():
    with pytest.raises(ValueError, match="129 lanes; give 1 to the length, 128"):
        verilog_text(dataclasses.replace(PE, lanes=129))
