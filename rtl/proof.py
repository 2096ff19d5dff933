"""Proof that a combinational circuit equals its reference for every input.

Both become one circuit whose output says whether they differ, and bitwuzla shows that it never is
1. A reference that is wrong for one input has to be refuted, so that a proof of nothing is noticed.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.element import Obligation
from rtl.toolchain import ToolError, need_module, run_yosys

#: Milliseconds after which a proof is given up.
LIMIT_MS = 240_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a solver said of a pair of circuits."""

    is_equal: bool
    time_s: float


class _WrongOnce(wiring.Component):
    """A reference whose first output is off by one where all inputs are ones."""

    def __init__(self, right: wiring.Component) -> None:
        self._right = right
        super().__init__(right.signature)

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.right = self._right
        names = {Out: [], In: []}  # type: ignore[var-annotated]
        for name, member in self.signature.members.items():
            names[member.flow].append(name)
        for name in names[In]:
            m.d.comb += getattr(self._right, name).eq(getattr(self, name))
        is_last = Cat(getattr(self, name) for name in names[In]).all()
        first, *rest = names[Out]
        right = getattr(self._right, first)
        m.d.comb += getattr(self, first).eq(Mux(is_last, right ^ 1, right))
        for name in rest:
            m.d.comb += getattr(self, name).eq(getattr(self._right, name))
        return m


def prove(obligation: Obligation) -> Proof:
    """Compare a circuit with its reference."""
    return _prove(obligation.circuit(), obligation.reference())


def refute_wrong(obligation: Obligation) -> Proof:
    """Compare it with a reference that is wrong for one input; the answer must be no."""
    return _prove(obligation.circuit(), _WrongOnce(obligation.reference()))


def _prove(circuit: wiring.Component, reference: wiring.Component) -> Proof:
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
