"""PEs with FP16 activations whose sums round."""

from rtl.element import ProcessingElement
from rtl.fp16_pe import Fp16MacPe

FLOAT_PES: tuple[ProcessingElement, ...] = (
    Fp16MacPe(name="fp16-mac", source="baseline: FP16 multiplier, FP32 adder"),
)
