import pytest
from _helpers.measured_rows import ROWS


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(ROWS)
    return path
