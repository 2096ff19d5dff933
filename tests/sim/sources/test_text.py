import pytest

from sim.errors import UserError
from sim.sources.text import read_text


def test_a_text_must_exist_and_be_utf_8(tmp_path):
    with pytest.raises(UserError, match=r"^no text file at .*; --text takes the path of a UTF-8"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9!")
    with pytest.raises(UserError, match=r"latin\.txt is not UTF-8 text: byte 3 is 0xe9; convert"):
        read_text(tmp_path / "latin.txt")


def test_line_ends_are_those_of_python(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "dos.txt").content == "a\nb\nc\n"
