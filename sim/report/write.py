"""Write a report's files, each whole or not at all."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.provenance import ReportProvenance
from sim.report.html import page
from sim.report.records import results_csv, sqnr_csv
from sim.sweep.result import PointResult


def write_report(
    results: Sequence[PointResult], out: Path, *, provenance: ReportProvenance
) -> list[Path]:
    """Write tables, figures and ``report.html`` to ``out``; return their paths, the page last.

    Everything is made, and written under other names, before anything is replaced. Without
    quantized weights there is no ``sqnr.png``; one of an earlier report is removed.
    """
    if not results:
        raise ValueError("a report needs at least one result, got none")
    # Matplotlib takes a second to import, which nothing else of the package needs.
    from sim.report.loss_figure import loss_figure
    from sim.report.sqnr_figure import sqnr_figure
    from sim.report.style import png, svg

    loss, sqnr = loss_figure(results), sqnr_figure(results)
    drawings = {"loss": svg(loss)} | ({} if sqnr is None else {"sqnr": svg(sqnr)})
    files = _csv_files(results) | {"loss.png": png(loss)}
    if sqnr is not None:
        files["sqnr.png"] = png(sqnr)
    files["report.html"] = page(results, drawings, provenance).encode()
    written = replace_files(out, files)
    if sqnr is None:
        (out / "sqnr.png").unlink(missing_ok=True)
    return written


def write_csv(results: Sequence[PointResult], path: Path) -> list[Path]:
    """Write the results to ``path`` and the SQNR of every matrix to ``sqnr.csv`` beside it."""
    texts = _csv_files(results)
    return replace_files(
        path.parent, {path.name: texts["results.csv"], "sqnr.csv": texts["sqnr.csv"]}
    )


def _csv_files(results: Sequence[PointResult]) -> dict[str, bytes]:
    """Return the tables by file name."""
    return {
        "results.csv": results_csv(results).encode(),
        "sqnr.csv": sqnr_csv(results).encode(),
    }


def replace_files(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write all files beside their places, then move each there; a full disk changes nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".report-") as staging:
        for name, content in files.items():
            (Path(staging) / name).write_bytes(content)
        for name in files:
            os.replace(Path(staging) / name, directory / name)
    return [directory / name for name in files]
