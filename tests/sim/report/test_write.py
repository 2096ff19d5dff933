import errno
from pathlib import Path

import pytest

from sim.report import write_report

from .conftest import make_point
from .test_html import PROVENANCE


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_all_files_are_written_the_page_last(results, tmp_path):
    written = write_report(results[:4], tmp_path / "new", provenance=PROVENANCE)
    assert [path.name for path in written] == [
        "results.csv",
        "sqnr.csv",
        "loss.png",
        "sqnr.png",
        "report.html",
    ]
    assert set(contents(tmp_path / "new")) == {path.name for path in written}


def test_equal_results_give_equal_files(results, tmp_path):
    for name in ("one", "two"):
        write_report(results[:4], tmp_path / name, provenance=PROVENANCE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("fails_at", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_full_disk_leaves_the_old_files(results, tmp_path, monkeypatch, fails_at):
    write_report(results[:2], tmp_path, provenance=PROVENANCE)
    before = contents(tmp_path)
    write, calls = Path.write_bytes, []

    def no_space(self, data):
        calls.append(self)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left on device"):
        write_report(results[:3], tmp_path, provenance=PROVENANCE)
    assert contents(tmp_path) == before


def test_a_heat_map_of_an_earlier_report_does_not_stay(tmp_path):
    points = [make_point("float32", 32.0, 0.0, 0.0), make_point("int4", 4.0, 0.3, 0.02)]
    write_report(points, tmp_path, provenance=PROVENANCE)
    write_report(points[:1], tmp_path, provenance=PROVENANCE)
    assert set(contents(tmp_path)) == {"results.csv", "sqnr.csv", "loss.png", "report.html"}


def test_there_is_no_report_of_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"^a report needs at least one result, got none$"):
        write_report([], tmp_path, provenance=PROVENANCE)
