"""The start of a calibrated pass: streams behind quantized blocks, or statistics that are kept."""

import hashlib
import json
from collections.abc import Callable

from sim.calibration.kept import KeptStatistics
from sim.calibration.spool import Spool
from sim.calibration.text import Calibration
from sim.methods import catalog as methods
from sim.methods.block_report import Report, unreported
from sim.methods.options import step_text
from sim.methods.streams import CalibrationStreams, FloatStatistics, measure_float
from sim.model.params import Params
from sim.sources.source import ModelSource
from sim.sweep.recipe import Plan


def start_calibration(
    source: ModelSource,
    point: Plan,
    embedding: Callable[[], Params],
    calibration: Calibration | None,
    spool: Spool,
    report: Report = unreported,
) -> CalibrationStreams | FloatStatistics | None:
    """Return where statistics of a pass come from; ``None`` if no step reads any.

    Parameters
    ----------
    source : ModelSource
        The float model with the plan's transforms.
    embedding : function
        Returns the tables that embed the calibration windows.
    """
    if calibration is None or not point.needs_statistics:
        return None
    if calibration.statistics is None:
        return CalibrationStreams.start(point, embedding(), calibration.tokens, spool)
    kept = KeptStatistics(directory=calibration.statistics / _key(source, point, calibration))
    measure_float(source, embedding(), calibration.tokens, kept, spool, report)
    return FloatStatistics(kept)


def _key(source: ModelSource, point: Plan, calibration: Calibration) -> str:
    """Return a hash of everything that decides the float model's statistics."""
    is_learned = any(transform.reads_text for transform in point.transforms)
    content = {
        "model": source.content_hash,
        "transforms": [step_text(transform) for transform in point.transforms],
        # What is learned depends on the formats.
        "learned for": point.recipe.canonical() if is_learned else "",
        "calibration": calibration.key,
        "methods": methods.VERSION,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
