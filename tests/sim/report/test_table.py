import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from sim.report.table import COLUMNS, by_loss, fitting_columns, markdown_table, print_table

from .conftest import make_point


def shown(results, width):
    console = Console(width=width, file=io.StringIO())
    print_table(results, console)
    return console.file.getvalue()


def test_the_float_model_comes_first_then_the_smallest_loss(results):
    recipes = [p.recipe for p in by_loss([make_point("nan", 4.0, math.nan, None), *results])]
    assert recipes[:3] == ["float32", "mxint8", "kv=int8"] and recipes[-2:] == ["ternary", "nan"]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_fits_the_terminal_and_keeps_the_loss(results, width):
    text = shown(results, width)
    assert max(map(cell_len, text.splitlines())) <= width
    for needed in ("+0.4590 ± 0.0330", "+8.0000"):
        assert needed in text
    assert " ".join(text.split()).count("Weights lie on a grid.") == 1
    assert ("4.135" in text) == (width >= 80)


def test_a_wider_terminal_shows_more_columns(results):
    shown_counts = [len(fitting_columns(results, width)) for width in range(30, 200, 5)]
    assert shown_counts == sorted(shown_counts)
    assert (shown_counts[0], shown_counts[-1]) == (2, len(COLUMNS))


def test_names_from_outside_are_text():
    point = make_point(
        "[red]a[/] \x1b[31m|<b>\n2", 4.0, 1e7, None, model="[/]x", perplexity=math.inf
    )
    text = shown([point], 200)
    assert "[red]a[/] [31m|<b> 2" in text and "[/]x on a text" in text and "\x1b" not in text
    assert "inf" in text
    (*_, row) = markdown_table([point]).splitlines()
    assert row.startswith(r"| \[red\]a\[/\] \[31m\|&lt;b&gt; 2 | +10000000.0000 | inf |")


def test_the_markdown_table_has_one_row_a_point(results):
    lines = markdown_table(results).splitlines()
    assert len(lines) == len(results) + 2
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
