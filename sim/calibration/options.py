"""The options that choose a calibration set, for every command with ``--method``."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from sim.options import Count

#: Length of a calibration window in tokens if none is given and the model has as many positions.
SEQUENCE = 512


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """The calibration text: its file, tokens and windows."""

    calibration: Path | None = None
    """UTF-8 text that calibrated methods read; the built-in calibration text if not given."""
    second_text: Path | None = None
    """UTF-8 text of another kind, on which points of a sweep with calibrated methods are measured
    too; a built-in one if not given."""
    calibration_tokens: Count = 16384
    """Tokens to calibrate on, in windows of --sequence, evenly over the text."""
    sequence: Count | None = None
    """Length of a calibration window in tokens; 512, or the model's positions if those are fewer,
    if not given."""
    statistics: Path | None = None
    """Directory that keeps statistics of the float model, on which every format is then calibrated:
    one pass over the text for all formats and later commands. If not given, each format has a pass
    of its own, in which a block sees the quantized blocks before it."""


BUILT_IN = CalibrationOptions()
