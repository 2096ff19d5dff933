"""Strict reading of TOML files."""

from dataclasses import dataclass

import pytest

from hw.toml_reader import LONGEST_FILE_BYTES, Sourced, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    size_mb: float
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    title: str
    tdp_w: Sourced
    cores: int
    levels: tuple[Level, ...] = ()
    clock_ghz: float | None = None

    def __post_init__(self):
        if self.cores > 100:
            raise ValueError(f"cores is {self.cores}, more than 100")


GOOD = """\
title = "A thing"
tdp_w = { value = 400, source = "datasheet", confirmed = false }
cores = 4
levels = [
    { size_mb = 1 },
    { size_mb = 2.5, shared = true },
]
"""


def read(tmp_path, text):
    path = tmp_path / "thing.toml"
    path.write_text(text)
    return read_toml(path, Thing, name="thing")


def test_a_good_file_becomes_the_dataclass(tmp_path):
    assert read(tmp_path, GOOD) == Thing(
        name="thing",
        title="A thing",
        tdp_w=Sourced(value=400.0, source="datasheet", confirmed=False),
        cores=4,
        levels=(Level(size_mb=1.0), Level(size_mb=2.5, shared=True)),
    )


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("cores = 4", "core = 4", "line 3: unknown key 'core'; did you mean 'cores'?"),
        ("tdp_w", "tdp", "line 2: key 'tdp' lacks its unit: tdp_w"),
        ("cores = 4", "colour = 4", "line 3: unknown key 'colour'; known: title, tdp_w, cores"),
        ("cores = 4", "", ": key 'cores' is missing"),
        ("cores = 4", "cores = 4.5", "line 3: cores is 4.5, not a whole number"),
        ("cores = 4", "cores = true", "line 3: cores is True, not a whole number"),
        ("cores = 4", "cores = -1", "line 3: cores is -1, not from 0 to 1e+15"),
        ("cores = 4", "cores = 101", ": cores is 101, more than 100"),
        ("value = 400", "value = nan", "line 2: tdp_w.value is nan, not from 0"),
        ("value = 400", f"value = 4{400 * '0'}", "line 2: tdp_w.value is inf, not from 0"),
        ("cores = 4", f"cores = 4{400 * '0'}", "line 3: cores is 4000000"),
        ("cores = 4", f"cores = 4{5000 * '0'}", ": a number has too many digits"),
        ("cores = 4", f"cores = {9000 * '['}", ": lists or tables are nested too deeply"),
        ('"A thing"', '""', "line 1: title is empty"),
        ('"A thing"', "3", "line 1: title is 3, not a text"),
        (', source = "datasheet"', "", "line 2: key 'source' is missing"),
        ("source =", "scource =", "line 2: unknown key 'scource'; did you mean 'source'?"),
        ("{ value = 400", "400 #", "line 2: tdp_w is 400, not a number with its source"),
        ("shared = true", "shared = 1", "line 6: levels.shared is 1, not true or false"),
        ("size_mb = 2.5", "size = 2.5", "line 6: key 'size' lacks its unit: size_mb"),
        ("{ size_mb = 1 }", "1", "line 4: levels is 1, not a table with the keys size_mb, shared"),
        ('title = "', 'title "', ": not a TOML file: "),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_key(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError) as error:
        read(tmp_path, GOOD.replace(old, new))
    said = str(error.value)
    assert said.startswith(str(tmp_path / "thing.toml"))
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("size_mb = 2", "size = 2", "line 7: key 'size' lacks its unit: size_mb"),
        ("size_mb = 1", "size_mb = -1", "line 5: levels.size_mb is -1.0, not from 0"),
        ("size_mb = 2", "size_mb = -2", "line 7: levels.size_mb is -2.0, not from 0"),
        ("shared = false", "shared = 0", "line 8: levels.shared is 0, not true or false"),
    ],
)
def test_the_line_is_that_of_the_table_that_is_wrong(tmp_path, old, new, message):
    start = GOOD[: GOOD.index("levels")]
    text = start + "[[levels]]\nsize_mb = 1\n[[levels]]\nsize_mb = 2\nshared = false\n"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text.replace(old, new))


def test_files_that_are_missing_too_long_or_no_text_are_refused(tmp_path):
    path = tmp_path / "thing.toml"
    with pytest.raises(ValueError, match="cannot be read"):
        read_toml(path, Thing, name="thing")
    path.write_bytes(b"#" * (LONGEST_FILE_BYTES + 1))
    with pytest.raises(ValueError, match=f"longer than {LONGEST_FILE_BYTES} bytes"):
        read_toml(path, Thing, name="thing")
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        read_toml(path, Thing, name="thing")
