"""Write a report's files, each whole or not at all."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.directories import made_directory
from sim.provenance import ReportProvenance
from sim.report.html import Drawing, page
from sim.report.kinds import is_reference
from sim.report.ranking import Row, rank
from sim.report.records import results_csv, sqnr_csv
from sim.sweep.result import PointResult


def write_report(
    results: Sequence[PointResult],
    out: Path,
    *,
    provenance: ReportProvenance,
    earlier: Sequence[PointResult] = (),
) -> list[Path]:
    """Write tables, figures and ``report.html`` to ``out``; return their paths, the page last.

    ``earlier`` are points of earlier runs on the same model and sample; the report shows them too
    and marks the new ones. Everything is made, and written under other names, before anything is
    replaced. Without quantized weights there is no ``sqnr.png``; one of an earlier report is
    removed.
    """
    if not results:
        raise ValueError("a report needs at least one result, got none")
    rows = rank(results, earlier)
    drawings, pictures = _figures(rows)
    files = _csv_files(results, earlier) | pictures
    files["report.html"] = page(rows, drawings, provenance).encode()
    written = replace_files(out, files)
    if "sqnr.png" not in files:
        (out / "sqnr.png").unlink(missing_ok=True)
    return written


def _figures(rows: Sequence[Row]) -> tuple[dict[str, Drawing], dict[str, bytes]]:
    """Return the drawings of the page by name, and the pictures by file name."""
    # Matplotlib takes a second to import, which nothing else of the package needs.
    from sim.report.accuracy_figure import accuracy_figure
    from sim.report.sqnr_figure import sqnr_figure
    from sim.report.style import png, svg
    from sim.report.window_figure import window_figure

    compared = [row.point for row in rows if not is_reference(row.point)]
    is_single = len(compared) == 1 and compared[0].windows > 1
    wide, narrow = (
        window_figure(compared[0], is_narrow=narrow)
        if is_single
        else accuracy_figure(rows, is_narrow=narrow)
        for narrow in (False, True)
    )
    name = "windows" if is_single else "accuracy"
    drawings = {name: Drawing(wide=svg(wide), narrow=svg(narrow))}
    pictures = {"loss.png": png(wide)}
    wide_map, narrow_map = sqnr_figure(rows), sqnr_figure(rows, is_narrow=True)
    if wide_map is not None and narrow_map is not None:
        drawings["sqnr"] = Drawing(wide=svg(wide_map), narrow=svg(narrow_map))
        pictures["sqnr.png"] = png(wide_map)
    return drawings, pictures


def write_csv(results: Sequence[PointResult], path: Path) -> list[Path]:
    """Write the results to ``path`` and the SQNR of every matrix to ``sqnr.csv`` beside it."""
    texts = _csv_files(results, ())
    return replace_files(
        path.parent, {path.name: texts["results.csv"], "sqnr.csv": texts["sqnr.csv"]}
    )


def _csv_files(results: Sequence[PointResult], earlier: Sequence[PointResult]) -> dict[str, bytes]:
    """Return the tables by file name."""
    return {
        "results.csv": results_csv(results, earlier).encode(),
        "sqnr.csv": sqnr_csv(results, earlier).encode(),
    }


def replace_files(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write all files beside their places, then move each there; a full disk changes nothing."""
    with (
        made_directory(directory),
        tempfile.TemporaryDirectory(dir=directory, prefix=".report-") as staging,
    ):
        for name, content in files.items():
            (Path(staging) / name).write_bytes(content)
        for name in files:
            os.replace(Path(staging) / name, directory / name)
    return [directory / name for name in files]
