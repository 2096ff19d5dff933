"""Serial multiplication: each cycle adds the activation shifted by one term of the weight.

BitMoD, arXiv:2411.11745, section IV: a term is a sign and a power of two. The values of its formats
have at most two one bits, which are found from the highest one downwards.
"""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.hdl import signed as signed_shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.formats import FloatFormat, Format
from numerics.pe.exact_dot import integer_table, sum_bits
from rtl.arithmetic.decoder import Decoder
from rtl.arithmetic.products import Product, float_parts


class LeadingOnes(wiring.Component):
    """One step's term: the activation shifted by the place of the weight's step-th one bit.

    Raises
    ------
    ValueError
        A value of the weights has more one bits than there are steps.
    """

    def __init__(self, weights: Format, activations: Format, steps: int) -> None:
        self.weights, self.activations, self.steps = weights, activations, steps
        most = max(abs(value).bit_count() for value in integer_table(weights))
        if most > steps:
            raise ValueError(f"{weights.name} has values of {most} terms, more than {steps} cycles")
        super().__init__(
            {
                "weight": In(weights.bits),
                "activation": In(activations.bits),
                "step": In(range(steps)),
                "term": Out(signed_shape(sum_bits(weights, activations, 1))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.decoder = decoder = Decoder(self.weights)
        m.d.comb += decoder.code.eq(self.weight)
        sign, magnitude = decoder.value[-1], Signal(len(decoder.value))
        m.d.comb += magnitude.eq(Mux(sign, -decoder.value, decoder.value))
        is_zero, place = self._place(m, magnitude)
        size, is_negative = self._activation(m)
        shifted = Signal(len(self.term))
        m.d.comb += shifted.eq(Mux(is_zero, 0, size << place))
        m.d.comb += self.term.eq(Mux(sign ^ is_negative, -shifted, shifted))
        return m

    def _place(self, m: Module, magnitude: Value) -> tuple[Value, Value]:
        """Return whether the magnitude has no one bit for this step, and the place of the bit."""
        rest, zeros, places = magnitude, [], []
        for step in range(self.steps):
            place = Signal(range(len(magnitude)), name=f"place_{step}")
            for bit in range(len(magnitude)):
                with m.If(rest[bit]):
                    m.d.comb += place.eq(bit)
            zeros.append(~rest.any())
            places.append(place)
            after = Signal(len(magnitude), name=f"rest_{step}")
            m.d.comb += after.eq(rest & ~(Value.cast(1) << place))
            rest = after
        return Array(zeros)[self.step], Array(places)[self.step]

    def _activation(self, m: Module) -> tuple[Value, Value]:
        """Return the magnitude of the activation in units of its format, and its sign."""
        if isinstance(self.activations, FloatFormat):
            sign, significand, shift = float_parts(m, self.activations, self.activation)
            return significand << shift, sign
        m.submodules.activation_decoder = decoder = Decoder(self.activations)
        m.d.comb += decoder.code.eq(self.activation)
        size = Signal(len(decoder.value))
        m.d.comb += size.eq(Mux(decoder.value[-1], -decoder.value, decoder.value))
        return size, decoder.value[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial:
    """Term circuit of a serial PE, and the number of cycles that it needs."""

    terms: Callable[[Format, Format, int], LeadingOnes]
    cycles: int

    def summed(self, weights: Format, activations: Format) -> Product:
        """Return a circuit that adds the terms of all cycles; it has to equal the product."""
        return _Summed(self, weights, activations)


class _Summed(Product):
    def __init__(self, serial: Serial, weights: Format, activations: Format) -> None:
        self._serial = serial
        super().__init__(weights, activations)

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        terms = []
        for step in range(self._serial.cycles):
            circuit = self._serial.terms(self.weights, self.activations, self._serial.cycles)
            m.submodules[f"term_{step}"] = circuit
            m.d.comb += circuit.weight.eq(self.weight)
            m.d.comb += circuit.activation.eq(self.activation)
            m.d.comb += circuit.step.eq(step)
            terms.append(circuit.term)
        m.d.comb += self.product.eq(sum(terms[1:], start=terms[0]))
        return m
