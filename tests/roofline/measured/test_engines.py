"""Engines of measured rows by words, age and model; a user's table comes first."""

import pytest

from roofline.measured.engines import engine_aliases, is_before
from roofline.measured.table import COLUMNS, read_points
from sim.cli import main


def row(tmp_path, source, aliases=None):
    path = tmp_path / "rows.csv"
    cells = f"RTX 4090,Llama-3.1-8B,,gguf-Q4_0,,1,512,,prefill,1,{source}"
    path.write_text(f"{','.join(COLUMNS)}\n{cells}\n")
    (point,) = read_points(path, engine_aliases(aliases))
    return point


def test_a_users_table_is_asked_first(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[[words]]\npattern = "our lab"\nengine = "llama.cpp of 2023"\n')
    assert row(tmp_path, "our lab").engine.name == "llama.cpp"
    assert row(tmp_path, "our lab", path).engine.name == "llama.cpp of 2023"
    assert row(tmp_path, "ik_llama.cpp", path).engine.name == "ik_llama.cpp"


@pytest.mark.parametrize(
    "text,words",
    [
        (
            '[[words]]\npattern = "a"\nengine = "lama.cpp"',
            "line 3: engine: unknown engine 'lama.cpp'; did you mean 'llama.cpp'?",
        ),
        ('[[words]]\npattern = "("\nengine = "llama.cpp"', "line 2: pattern is '('"),
        ('[[words]]\npattern = "a"\nengine = "llama.cpp"\ncores = "x86"', "cores is 'x86'"),
        ('[[models]]\nnames = ["a"]\nparallel = "tensor"', "parallel is 'tensor', not 'rows'"),
        ('[[word]]\npattern = "a"', "did you mean 'words'"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        engine_aliases(path)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "source,number,expected",
    [
        ("llama.cpp/pull/6413", 6414, True),
        ("llama.cpp/pull/6414", 6414, False),
        ("spring 2023", 4766, True),
        ("2024", 4766, False),
        ("2024", 8075, None),
        ("2025 and 2026", 8075, False),
        ("a blog", 8075, None),
    ],
)
def test_the_age_of_a_source(source, number, expected):
    assert is_before(source, number) is expected


def test_the_command_takes_a_table_of_engines(tmp_path, capsys):
    path, rows = tmp_path / "mine.toml", tmp_path / "rows.csv"
    path.write_text('[[words]]\npattern = "our lab"\nengine = "llama.cpp of 2023"\n')
    cells = "RTX 4090,Llama-3.1-8B,,gguf-Q4_0,,1,512,,prefill,1,our lab"
    rows.write_text(f"{','.join(COLUMNS)}\n{cells}\n")
    for more, is_named in (([], False), (["--engines", str(path)], True)):
        with pytest.raises(SystemExit) as exit:
            main(["roofline", "validate", str(rows), *more])
        assert exit.value.code == 0
        assert ("llama.cpp of 2023" in capsys.readouterr().out) is is_named
