"""The options of ``qsim rtl``: one definition for the command line, its help and the code."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sim.options import Count, Flag


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class EmitOptions:
    """Output directory of ``qsim rtl emit``, and sizes and formats to change."""

    out: Path
    """Directory for the file, such as build."""
    lanes: Count | None = None
    """Values of a dot product in one cycle."""
    length: Count | None = None
    """Largest number of values of a group; sets the default accumulator width."""
    accumulator: Count | None = None
    """Accumulator width in bits; by default the width that is exact for every group."""
    weights: str | None = None
    """Weight format of 'qsim formats' instead of the PE's own, such as fp4; exact dot-product PEs
    only."""
    activations: str | None = None
    """Activation format; exact dot-product PEs only."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOptions:
    """Part of a layer, and the tile of PEs that it runs on."""

    layer: str = "layers.0.self_attn.q_proj"
    """Linear layer, such as layers.3.mlp.down_proj."""
    tokens: Count = 16
    """Number of tokens of the held-out text."""
    lanes: Count | None = None
    """Values of a dot product in one cycle; by default 8, or the PE's number where its sums round
    or its codes stand for several values."""
    tile: Count | None = None
    """Outputs computed in parallel, at most those of the layer; by default 4, 2 with large PEs, or
    the number of columns of the PE."""
    codes: Path | None = None
    """File to write the layer's codes to, which 'qsim rtl cost --operands' reads."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CostOptions:
    """Cell library, operands and target (ASIC or FPGA) of the costs."""

    liberty: Path | None = None
    """Another cell library (liberty file); each of its tables is read at one point.

    Delays compare within one library; between libraries they are within about 30 %."""
    operands: Path | None = None
    """Codes of a layer, as 'qsim rtl run-layer --codes' writes them, to measure energy on."""
    fpga: str | None = None
    """ecp5 or ice40: print look-up tables, flip-flops, DSP blocks and clock rate instead."""
    all: Flag = False
    """Synthesize and measure again instead of reading the stored records."""
    out: Path | None = None
    """Directory to write new records to, one JSON file per PE; by default none is written."""
    workers: Count = 1
    """Processes that measure PEs at the same time, each on its share of the cores."""
