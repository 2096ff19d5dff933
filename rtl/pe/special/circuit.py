"""BitMoD's term circuit and PE, with the special value as a field of the beat."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FP16, Format
from numerics.pe.special import SPECIAL_BITS, SpecialDot
from numerics.pe.terms import WINDOW_BITS, WINDOW_UNIT
from rtl.arithmetic.decoder import Decoder
from rtl.arithmetic.serial_terms import window_terms
from rtl.pe.aligned.circuit import AlignedCircuit


class SpecialTerm(wiring.Component):
    """The terms of a code's value; the code of minus zero stands for ``special``."""

    def __init__(self, model: SpecialDot) -> None:
        self.model, self.generator = model, model.model.generator
        super().__init__(
            {
                "code": In(model.base.bits),
                "special": In(SPECIAL_BITS),
                "step": In(range(self.generator.cycles)),
                "sign": Out(1),
                "exponent": Out(range(self.generator.most_exponent + 1)),
                "bit": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.decoder = decoder = Decoder(self.model.base)
        m.d.comb += decoder.code.eq(self.code)
        value, special = decoder.value, self.special[:WINDOW_BITS]
        size = Signal(WINDOW_BITS)
        is_special = self.code == self.model.minus_zero
        magnitude = Mux(value[-1], -value, value) << _places(self.model.base)
        m.d.comb += size.eq(Mux(is_special, special, magnitude))
        m.d.comb += self.sign.eq(Mux(is_special, self.special[-1] & special.any(), value[-1]))
        window_terms(m, self, size)
        return m


def _places(base: Format) -> int:
    assert base.unit is not None
    return int(base.unit / WINDOW_UNIT).bit_length() - 1


class SpecialTermTable(SpecialTerm):
    """Reference of :class:`SpecialTerm`: a table, one case per code and special value."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        key = Mux(self.code == self.model.minus_zero, self.special, self._window_code(m))
        with m.Switch(Cat(key, self.step)):
            for step in range(self.generator.cycles):
                for code in range(1 << SPECIAL_BITS):
                    term = self.generator.terms(code)[step]
                    with m.Case(step << SPECIAL_BITS | code):
                        m.d.comb += [
                            self.sign.eq(term.sign),
                            self.exponent.eq(term.exponent),
                            self.bit.eq(term.bit),
                        ]
        return m

    def _window_code(self, m: Module) -> Value:
        found = Signal(SPECIAL_BITS)
        windows = self.generator.weights
        with m.Switch(self.code):
            for code in range(1 << len(self.code)):
                with m.Case(code):
                    m.d.comb += found.eq(windows.encode(self.model.base.decode(code)))
        return found


class SpecialCircuit(AlignedCircuit):
    """The aligned circuit, with one special value per beat for all lanes."""

    def __init__(self, model: SpecialDot) -> None:
        self._special_model = model
        fields = {
            "weights": data.ArrayLayout(model.base.bits, model.lanes),
            "activations": data.ArrayLayout(FP16.bits, model.lanes),
            "special": SPECIAL_BITS,
        }
        super().__init__(model.model, fields)

    def term(self, m: Module) -> SpecialTerm:
        """Return a term circuit whose special value is that of the beat."""
        term = SpecialTerm(self._special_model)
        m.d.comb += term.special.eq(self.operands.payload.special)
        return term
