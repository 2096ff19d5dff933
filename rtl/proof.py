"""Proof that a circuit for a product gives what a table and ``*`` give, for every pair of codes.

Both become one circuit whose output says whether they differ, and bitwuzla shows that it never is
1. A reference that is wrong for one pair has to be refuted, so that a proof of nothing is noticed.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Module, Mux
from amaranth.lib import wiring

from numerics.formats import Format
from rtl.catalog import ProcessingElement
from rtl.products import Multiplier, Product, float_parts
from rtl.toolchain import ToolError, need_module, run_yosys

#: Bits of the codes up to which the reference is a table of values.
LARGEST_TABLE_BITS = 8
#: Milliseconds after which a proof is given up.
LIMIT_MS = 240_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a solver said of a pair of circuits."""

    is_equal: bool
    time_s: float


class _WideMultiplier(Product):
    """The reference for wide floats, whose table a solver can't take: ``*``, then one shift."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        weight = self.decoded(m, self.weights, self.weight)
        sign, significand, shift = float_parts(m, self.activations, self.activation)
        size = (weight * significand) << shift
        m.d.comb += self.product.eq(Mux(sign, -size, size))
        return m


class _WrongOnce(Product):
    """A reference that is off by one for the pair of the largest codes."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.right = right = _reference(self.weights, self.activations)
        m.d.comb += right.weight.eq(self.weight)
        m.d.comb += right.activation.eq(self.activation)
        is_last = self.weight.all() & self.activation.all()
        m.d.comb += self.product.eq(Mux(is_last, right.product ^ 1, right.product))
        return m


def prove_product(pe: ProcessingElement) -> Proof:
    """Compare a PE's product with decoded values and ``*``."""
    circuit = pe.product(pe.weights, pe.activations)
    return _prove(circuit, _reference(pe.weights, pe.activations))


def _reference(weights: Format, activations: Format) -> Product:
    """Return decoded values and ``*``."""
    wide = activations.bits > LARGEST_TABLE_BITS
    return (_WideMultiplier if wide else Multiplier)(weights, activations)


def refute_wrong(pe: ProcessingElement) -> Proof:
    """Compare it with a reference that is wrong for one pair; the answer must be no."""
    circuit = pe.product(pe.weights, pe.activations)
    return _prove(circuit, _WrongOnce(pe.weights, pe.activations))


def _prove(circuit: Product, reference: Product) -> Proof:
    need_module("bitwuzla")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="qsim-proof-") as name:
        folder = Path(name)
        for top, component in (("dut", circuit), ("ref", reference)):
            (folder / f"{top}.il").write_text(_rtlil(component, top), encoding="utf-8")
        run_yosys(MITER, folder)
        text = (folder / "miter.smt2").read_text(encoding="utf-8")
    is_equal = _is_never_one(text)
    return Proof(is_equal=is_equal, time_s=time.perf_counter() - started)


#: Submodules of the two circuits have the same names, so each is flattened before the other comes.
MITER = [
    "read_rtlil dut.il",
    "setattr -mod -unset top *",
    "hierarchy -top dut",
    "proc -norom",
    "flatten",
    "opt_clean",
    "write_rtlil flat_dut.il",
    "design -reset",
    "read_rtlil ref.il",
    "setattr -mod -unset top *",
    "hierarchy -top ref",
    "proc -norom",
    "flatten",
    "opt_clean",
    "setattr -mod -unset top *",
    "read_rtlil flat_dut.il",
    "setattr -mod -unset top *",
    "miter -equiv -flatten -make_outputs ref dut miter",
    "hierarchy -top miter",
    "write_smt2 -wires miter.smt2",
]


def _rtlil(component: wiring.Component, top: str) -> str:
    return str(rtlil.convert(component, name=top))


def _is_never_one(circuit: str) -> bool:
    """Return whether the trigger of a miter is 0 for every input."""
    import bitwuzla

    query = "(declare-const s |miter_s|)(assert (|miter_n trigger| s))(check-sat)"
    manager = bitwuzla.TermManager()
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.TIME_LIMIT_PER, LIMIT_MS)
    parser = bitwuzla.Parser(manager, options)
    try:
        parser.parse(f"(set-logic ALL){circuit}{query}", True, False)
    except bitwuzla.BitwuzlaException as error:
        raise ToolError(f"bitwuzla: {error}") from None
    answer = parser.bitwuzla().check_sat()
    if answer == bitwuzla.Result.UNKNOWN:
        raise ToolError(f"bitwuzla gave up after {LIMIT_MS / 1000:g} s")
    return bool(answer == bitwuzla.Result.UNSAT)
