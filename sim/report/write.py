"""Write a report's files, each whole or not at all."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sim.report.figures import loss_figure, png, sqnr_figure, svg
from sim.report.html import ReportProvenance, page
from sim.report.table import results_csv, sqnr_csv
from sim.sweep.result import PointResult


def write_report(
    results: Sequence[PointResult], out: Path, *, provenance: ReportProvenance
) -> list[Path]:
    """Write tables, figures and ``report.html`` to ``out``; return their paths, the page last.

    Everything is made before anything is written.
    """
    loss, sqnr = loss_figure(results), sqnr_figure(results)
    figures = {"Loss against bits per weight": svg(loss)}
    files = {
        "results.csv": results_csv(results).encode(),
        "sqnr.csv": sqnr_csv(results).encode(),
        "loss.png": png(loss),
    }
    if sqnr is not None:
        figures["Signal to quantization noise of each layer's weights"] = svg(sqnr)
        files["sqnr.png"] = png(sqnr)
    files["report.html"] = page(results, figures, provenance).encode()
    return [_write(out / name, content) for name, content in files.items()]


def _write(path: Path, content: bytes) -> Path:
    """Replace a file in one step; what was there stays if writing fails."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
