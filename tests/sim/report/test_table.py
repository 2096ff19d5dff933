import csv
import io

import pytest
from rich.console import Console

from sim.report.table import by_loss, markdown_table, print_table, results_csv, sqnr_csv


def shown(results, width):
    console = Console(width=width, file=io.StringIO())
    print_table(results, console)
    return console.file.getvalue()


def test_the_float_model_comes_first_then_the_smallest_loss(results):
    recipes = [p.recipe for p in by_loss(results)]
    assert recipes[:3] == ["float32", "mxint8", "kv=int8"] and recipes[-1] == "ternary"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_the_terminal_and_keeps_loss_and_bits(results, width):
    text = shown(results, width)
    assert max(map(len, text.splitlines())) <= width
    for needed in ("+0.4590 ± 0.0330", "4.135", "+8.0000", "a model on a text", "on a grid"):
        assert needed in text
    assert text.count("Weights lie on a grid.") == 1


def test_a_wide_terminal_shows_every_column(results):
    assert all(name in shown(results, 200) for name in ("KL p99", "SQNR dB", "tokens/s", "wall s"))


def test_the_csv_has_full_precision_and_layers_of_their_own(results):
    rows = {row["recipe"]: row for row in csv.DictReader(io.StringIO(results_csv(results)))}
    assert len(rows) == len(results)
    assert all(float(rows[p.recipe]["perplexity"]) == p.perplexity for p in results)
    assert rows["ternary"]["delta_nats_se"] == rows["float32"]["sqnr_db_min"] == ""
    layers = list(csv.DictReader(io.StringIO(sqnr_csv(results))))
    assert len(layers) == sum(len(p.sqnr_db) for p in results)
    assert {row["recipe"] for row in layers} == {p.recipe for p in results if p.sqnr_db}


def test_the_markdown_table_has_one_row_a_point(results):
    lines = markdown_table(results).splitlines()
    assert len(lines) == len(results) + 2
    assert {line.count("|") for line in lines} == {12}
