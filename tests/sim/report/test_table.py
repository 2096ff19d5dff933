import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from sim.report.table import fitting_fields, markdown_table, print_table, with_error
from sim.sweep.result import COLUMNS

from .conftest import make_point
from .test_ranking import without_windows


def shown(results, width=80, *, is_terminal=True, earlier=()):
    console = Console(
        width=width, file=io.StringIO(), force_terminal=is_terminal, color_system=None
    )
    print_table(results, console, earlier)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("half", "text"),
    [
        (0.00124, "0.0393 ± 0.0012"),
        (0.124, "0.04 ± 0.12"),
        (3.2e-9, "0.0393123 ± 0.0000000"),
        (0.0, "0.0393"),
        (math.nan, "0.0393"),
        (None, "0.0393"),
    ],
)
def test_numbers_have_the_digits_that_their_errors_leave(half, text):
    assert with_error(0.0393123, half, ".4f") == text


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_fits_the_terminal_and_keeps_the_loss(results, width):
    text = shown(results, width)
    assert max(map(cell_len, text.splitlines())) <= width
    for needed in ("0.459 ± 0.020", "8.0000"):
        assert needed in text
    assert " ".join(text.split()).count("Weights lie on a grid.") == 1
    missing = [c.title for c in COLUMNS.values() if c.title not in text.splitlines()[0]]
    said = f"Not shown: {', '.join(missing)}; results.csv"
    assert (said in " ".join(text.split())) == bool(missing)


def test_a_pipe_gets_every_column_of_a_row_on_one_line(results):
    head, *lines = shown(results, 80, is_terminal=False).splitlines()
    assert all(column.title in head for column in COLUMNS.values())
    rows = {line.split()[0]: line for line in lines[: len(results)]}
    assert set(rows) == {p.recipe for p in results} and "Not shown" not in lines[-1]
    assert "+0.459 ± 0.078" in rows["int4"] and rows["int4"].endswith("definition of int4")


def test_the_degrees_of_freedom_are_shown(results):
    text = " ".join(shown(results, 100).split())
    assert "95% confidence interval over 8 windows, Student's t with 7 degrees of freedom" in text


def test_few_windows_have_no_error_and_say_what_helps():
    points = [without_windows(make_point("int8", 8.0, -0.003, None))]
    text = " ".join(shown(points, 100).split())
    assert "no error estimate: fewer than 8 windows" in text and "±" not in text
    assert "Use --tokens 4096 or more." in text


def test_a_model_that_cannot_read_the_text_is_named_above_the_table():
    lost = make_point("float32", 32.0, 0.0, 0.0, perplexity=math.nan)
    text = shown([lost, make_point("int4", 4.0, 0.1, 0.01, perplexity=1e6)])
    assert text.startswith("The float32 model cannot read this text: its perplexity nan")
    assert "Worse than a uniform guess (perplexity 49,152): int4." in text


def test_new_points_are_marked_among_earlier_ones():
    new, old = make_point("int4", 4.0, 0.3, 0.01), make_point("int8", 8.0, 0.01, 0.001)
    lines = shown([new], earlier=[old]).splitlines()
    assert lines[1].startswith("  int8 ") and lines[2].startswith("* int4 ")
    assert any(line.startswith("* this run") for line in lines)
    assert "*" not in shown([new, old])


def test_a_wider_terminal_shows_more_columns(results):
    shown_counts = [len(fitting_fields(results, width)) for width in range(30, 200, 5)]
    assert shown_counts == sorted(shown_counts)
    assert (shown_counts[0], shown_counts[-1]) == (2, len(COLUMNS))


def test_names_from_outside_are_text():
    point = make_point(
        "[red]a[/] \x1b[31m|<b>\n2", 4.0, 1e7, None, model="[/]x", perplexity=math.inf
    )
    text = shown([point], 250)
    assert "[red]a[/] [31m|<b> 2" in text and "[/]x on a text" in text and "\x1b" not in text
    assert "inf" in text
    (*_, row) = markdown_table([point]).splitlines()
    assert row.startswith(r"| \[red\]a\[/\] \[31m\|&lt;b&gt; 2 | 1e+07 | 4.000 | 1e+07 | inf |")


def test_the_markdown_table_has_one_row_a_point(results):
    lines = markdown_table(results).splitlines()
    assert len(lines) == len(results) + 2
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
