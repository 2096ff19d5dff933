"""Floating-point PEs: adders, shifts, products, and mutations of each."""

import inspect
import textwrap
from fractions import Fraction

import pytest
from amaranth.hdl import Module, Shape, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

import rtl.pe.fp16_mac.circuit
import rtl.pe.running.circuit
from numerics.formats import FloatFormat
from numerics.pe.aligned import shifted
from rtl.arithmetic.float32 import FloatAdder
from rtl.arithmetic.shifts import leading_zeros, rounded_shift
from rtl.catalog import find_pe
from rtl.verification.proof import prove
from rtl.verification.verify import verify

SMALL = FloatFormat(name="e5m3", exponent_bits=5, mantissa_bits=3, bias=15)


def mutated(circuit, old, new):
    """Return a circuit whose text differs in one place."""
    text = textwrap.dedent(inspect.getsource(circuit))
    assert text.count(old) == 1
    names = dict(vars(inspect.getmodule(circuit)))
    exec(text.replace(old, new), names)
    return names[circuit.__name__]


def outputs(circuit, inputs):
    """Return what a combinational circuit gives: rows of (port, value), one output ``found``."""
    found = []

    async def bench(ctx):
        for row in inputs:
            for port, value in row:
                ctx.set(port, value)
            await ctx.delay(1e-9)
            found.append(ctx.get(circuit.found))

    simulator = Simulator(circuit)
    simulator.add_testbench(bench)
    simulator.run()
    return found


class Shifting(wiring.Component):
    def __init__(self, shape, rounding):
        self._rounding = rounding
        super().__init__({"value": In(shape), "places": In(5), "found": Out(Shape(9, True))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.found.eq(rounded_shift(m, self.value, self.places, self._rounding))
        return m


@pytest.mark.parametrize("rounding", ["truncate", "nearest"])
@pytest.mark.parametrize("shape", [Shape(6, True), unsigned(5)])
def test_shifts_round_as_the_model_does(shape, rounding):
    circuit = Shifting(shape, rounding)
    least = -32 if shape.signed else 0
    cases = [(value, places) for value in range(least, 32) for places in (0, 1, 2, 5, 6, 7, 8, 31)]
    found = outputs(circuit, [((circuit.value, v), (circuit.places, p)) for v, p in cases])
    assert found == [shifted(value, places, rounding) for value, places in cases]


class Adding(wiring.Component):
    def __init__(self):
        super().__init__({"a": In(9), "b": In(9), "found": Out(9)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = FloatAdder(SMALL)
        m.d.comb += [adder.a.eq(self.a), adder.b.eq(self.b), self.found.eq(adder.sum)]
        return m


def test_a_small_adder_gives_every_sum_of_normal_numbers():
    numbers = [code for code in range(2**9) if (code >> 3 & 31) in range(8, 23) or not code & 255]
    circuit = Adding()
    cases = [(a, b) for a in numbers for b in numbers if a & 7 in (0, 1, 7) and b & 3 in (0, 3)]
    found = outputs(circuit, [((circuit.a, a), (circuit.b, b)) for a, b in cases])
    values = {code: Fraction(SMALL.decode(code)) for code in numbers}
    seen = 0
    for (a, b), code in zip(cases, found, strict=True):
        exact = values[a] + values[b]
        expected = SMALL.encode(exact)
        assert code == expected
        seen += SMALL.decode(code) != exact
    assert seen > 1000


class Zeros(wiring.Component):
    def __init__(self):
        super().__init__({"value": In(6), "found": Out(3)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.found.eq(leading_zeros(m, self.value))
        return m


def test_leading_zeros_of_every_number():
    circuit = Zeros()
    found = outputs(circuit, [((circuit.value, value),) for value in range(64)])
    assert found == [min(6 - value.bit_length(), 5) for value in range(64)]


@pytest.mark.parametrize(
    "module,circuit,old,new",
    [
        (rtl.pe.running.circuit, "SignificandProduct", "total - Mux", "total + Mux"),
        (
            rtl.pe.running.circuit,
            "SignificandProduct",
            "Mux(sign, -total, total)",
            "Mux(sign, ~total, total)",
        ),
        (rtl.pe.fp16_mac.circuit, "Fp16Product", "sign_w ^ sign_a", "sign_w | sign_a"),
        (rtl.pe.fp16_mac.circuit, "Fp16Product", "shift_w + shift_a", "shift_w | shift_a"),
    ],
)
def test_wrong_products_are_refuted(monkeypatch, module, circuit, old, new):
    name = "fp16-mac" if module is rtl.pe.fp16_mac.circuit else "mixpe-w4a16-running"
    wrong = mutated(getattr(module, circuit), old, new)
    monkeypatch.setattr(f"{type(find_pe(name)).__module__}.{circuit}", wrong)
    assert not prove(find_pe(name).obligations()[0]).is_equal


@pytest.mark.slow
def test_a_running_sum_that_shifts_one_side_only_is_noticed(monkeypatch):
    pe = find_pe("mixpe-w4a16-running")
    assert all(v.is_good for v in verify(pe, ["compiled"], dots=2000))
    wrong = mutated(rtl.pe.running.circuit.RunningCircuit, "Mux(is_larger, distance, 0)", "0")
    monkeypatch.setattr("rtl.pe.running.element.RunningCircuit", wrong)
    assert not all(v.is_good for v in verify(pe, ["compiled"], dots=2000))


@pytest.mark.slow
def test_an_fp16_mac_in_compiled_code():
    verdicts = list(verify(find_pe("fp16-mac"), ["compiled"], dots=100_000))
    assert len(verdicts) == 3 and all(v.is_good and v.vectors for v in verdicts)
