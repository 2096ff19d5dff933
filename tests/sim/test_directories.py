import pytest

from sim.directories import made_directory


def test_an_error_leaves_no_empty_directory_behind(tmp_path):
    with pytest.raises(KeyError), made_directory(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_or_written_stays(tmp_path):
    with pytest.raises(KeyError), made_directory(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").touch()
        raise KeyError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
    with pytest.raises(KeyError), made_directory(tmp_path / "a"):
        raise KeyError
    with made_directory(tmp_path / "c"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
