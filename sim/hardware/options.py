"""The options of ``qsim rtl``, written once: for the command line, its help and its code."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sim.options import Count, Flag


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class EmitOptions:
    """Where the Verilog of a PE goes, and sizes and formats other than the PE's own."""

    out: Path
    """Directory for the file, such as build."""
    lanes: Count | None = None
    """Values of a dot product in one cycle."""
    length: Count | None = None
    """Largest number of values of a group; it decides the width of an exact sum."""
    accumulator: Count | None = None
    """Bits of the accumulator, instead of those that hold every sum."""
    weights: str | None = None
    """Weight format of 'qsim formats' instead of the PE's own, such as fp4; exact dot-product PEs
    only."""
    activations: str | None = None
    """Activation format; exact dot-product PEs only."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOptions:
    """Which part of a layer runs through a tile of PEs."""

    layer: str = "layers.0.self_attn.q_proj"
    """Linear layer, such as layers.3.mlp.down_proj."""
    tokens: Count = 16
    """Tokens of the held-out text whose activations are run."""
    lanes: Count | None = None
    """Values of a dot product in one cycle; if not given 8, or the PE's own where its sums round
    or its codes stand for several values."""
    tile: Count | None = None
    """Outputs at a time, at most those of the layer, each by a PE or a column of one; if not given
    4, 2 of large PEs, or the PE's own columns."""
    codes: Path | None = None
    """File to write the layer's codes to, which 'qsim rtl cost --operands' reads."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CostOptions:
    """What costs are measured with."""

    liberty: Path | None = None
    """Another cell library; delay and energy take one number of each of its tables.

    Delays compare within one library; between libraries they are within about 30 %."""
    operands: Path | None = None
    """Codes of a layer, as 'qsim rtl run-layer --codes' writes them, to measure energy on."""
    fpga: str | None = None
    """ecp5 or ice40: print lookup tables, flip-flops, DSP blocks and clock rate instead."""
    all: Flag = False
    """Synthesize and measure again instead of reading the stored records."""
    out: Path | None = None
    """Directory to write new records to, one JSON file a PE; none are written without it."""
