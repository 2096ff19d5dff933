import pytest

from sim.report import write_report
from sim.report.study import Points, write_study

from .conftest import make_point
from .test_html import PROVENANCE
from .test_ranking import shared

FLOAT = make_point("float32", 32.0, 0.0, 0.0)
INT4 = make_point("int4", 4.0, 0.3, 0.02)
CACHE = make_point("kv=int8", 32.0, 0.001, 0.0005)


@pytest.mark.parametrize(("other", "has_map"), [(INT4, True), (CACHE, False)])
def test_a_page_shows_the_figures_there_are(tmp_path, other, has_map):
    sweep, study = tmp_path / "sweep", tmp_path / "study"
    study.mkdir()
    write_report([FLOAT, other], sweep, provenance=PROVENANCE)
    path = write_study(
        study,
        title="Title",
        text="Words.",
        results=[FLOAT, other],
        provenance=PROVENANCE,
        sweep_directory=sweep,
    )
    page = path.read_text()
    assert ("(sqnr.png)" in page, (study / "sqnr.png").exists()) == (has_map, has_map)
    assert "(loss.png)" in page and f"| {other.recipe} |" in page


def test_points_are_ranked_from_the_smallest_divergence():
    assert Points([INT4, FLOAT, CACHE]).ranked("int4", "kv=int8").startswith("kv=int8 (")


def test_changes_are_paired_over_windows():
    points = Points([shared("int4", 4.0, 0.3), shared("int4, PE", 4.0, 0.3, shift=0.002)])
    mean, half = points.change("int4, PE", "int4")
    assert mean == pytest.approx(0.002) and half == pytest.approx(0, abs=1e-12)
