"""Texts of calibrated sweeps: windows to calibrate on, and windows of a second text to score."""

from collections.abc import Sequence
from pathlib import Path

from sim.calibration.options import BUILT_IN, SEQUENCE, CalibrationOptions
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.methods.chain import chain_text
from sim.sources.embedded import calibration_text, second_text
from sim.sources.source import ModelSource
from sim.sources.text import Text, read_text
from sim.sweep.recipe import Recipe
from sim.sweep.windows import Windows, take_windows

#: Windows of the second text.
SECOND_WINDOWS = 8
#: Advice where no method is calibrated.
_CALIBRATED = "add --method clip or --method gptq"


def is_calibrated(recipes: Sequence[Recipe]) -> bool:
    """Return whether a recipe has a method that reads a calibration text."""
    return any(rule.method.is_calibrated for recipe in recipes for rule in recipe.rules)


def read_calibration(
    options: CalibrationOptions, source: ModelSource, recipes: Sequence[Recipe]
) -> Calibration | None:
    """Return the windows that calibrated methods read; ``None`` if no recipe has one.

    Raises :class:`UserError` for a text that no recipe would read.
    """
    if not is_calibrated(recipes):
        _check_unread(options)
        return None
    text = calibration_text()
    if options.calibration:
        text = read_text(options.calibration, option="--calibration")
    windows = take_windows(
        text,
        source.tokenizer(),
        tokens=options.calibration_tokens,
        context=_sequence(options, source),
        spread=True,
        options=("--calibration-tokens", "--sequence"),
    )
    if options.statistics is not None:
        _check_float_statistics(options.statistics, recipes)
    return Calibration(text=text, tokens=windows.tokens, statistics=options.statistics)


def _check_float_statistics(directory: Path, recipes: Sequence[Recipe]) -> None:
    """Refuse a directory that is a file, and steps that compare two kinds of inputs."""
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--statistics {directory} is a file; name a directory")
    for rule in (rule for recipe in recipes for rule in recipe.rules):
        if any(step.needs_shift for step in rule.method.steps):
            raise UserError(
                f"{chain_text(rule.method)} compares inputs behind quantized blocks with those of "
                "the float model, and --statistics has the latter only; leave --statistics out"
            )


def _sequence(options: CalibrationOptions, source: ModelSource) -> int:
    """Return the length of a calibration window; refuse one that the model can't read."""
    positions = source.config.max_positions
    if options.sequence is None:
        return min(SEQUENCE, positions)
    if not 2 <= options.sequence <= positions:
        raise UserError(
            f"--sequence {options.sequence} does not suit {source.name}, which has {positions} "
            f"positions; give 2 to {positions}"
        )
    return options.sequence


def read_second(
    options: CalibrationOptions,
    source: ModelSource,
    scored: Text,
    context: int,
    recipes: Sequence[Recipe],
) -> tuple[Text, Windows] | None:
    """Return windows of a text of another kind; ``None`` if no recipe is calibrated."""
    if not is_calibrated(recipes):
        return None
    if options.second_text:
        text = read_text(options.second_text, option="--second-text")
    else:
        text = second_text()
    if text.sha256 == scored.sha256:
        raise UserError(f"--second-text {text.name} is the text of --text; give another one")
    windows = take_windows(
        text,
        source.tokenizer(),
        tokens=SECOND_WINDOWS * context,
        context=context,
        spread=True,
        options=("--context", "--context"),
    )
    return text, windows


def _check_unread(options: CalibrationOptions) -> None:
    """Refuse options that rounding to nearest would ignore."""
    for option, path in (
        ("--calibration", options.calibration),
        ("--second-text", options.second_text),
        ("--statistics", options.statistics),
    ):  # fmt: skip
        if path is not None:
            raise UserError(f"{option} {path} is read by calibrated methods only; {_CALIBRATED}")
    for option, given, default in (
        ("--calibration-tokens", options.calibration_tokens, BUILT_IN.calibration_tokens),
        ("--sequence", options.sequence, BUILT_IN.sequence),
    ):  # fmt: skip
        if given != default:
            raise UserError(f"{option} {given} is for calibrated methods only; {_CALIBRATED}")
