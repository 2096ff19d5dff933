import io

from rich.console import Console

from sim.tables import Column, FittingTable, numbers, words

TABLE = FittingTable(
    (*words("name"), *numbers("bits"), Column("source", wraps=True)),
    [("int4", "4.125", "a paper with a long name and a section of it"), ("fp4", "4.125", "")],
    see="'qsim formats show NAME' has all of one.",
)


def shown(width):
    console = Console(width=width, file=io.StringIO())
    console.print(TABLE)
    return console.file.getvalue().splitlines()


def test_all_columns_in_a_wide_terminal():
    assert [line.split() for line in shown(200)[:2]] == [
        ["name", "bits", "source"],
        [
            "int4",
            "4.125",
            *TABLE.rows[0][2].split(),
        ],
    ]


def test_columns_that_do_not_fit_are_named_with_where_they_are():
    lines = shown(30)
    assert lines[0].split() == ["name", "bits"]
    text = " ".join(" ".join(lines[3:]).split())
    assert text == "Left out of 30 columns: source. 'qsim formats show NAME' has all of one."


def test_two_columns_always_stay():
    assert shown(4)[0].strip()
    assert TABLE.fitting(1) == [0, 1]
