import csv
import io
import math

from sim.report import write_csv
from sim.report.ranking import rank
from sim.report.records import results_csv, sqnr_csv
from sim.sweep.result import COLUMNS

from .conftest import make_point


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers_have_full_precision(results):
    rows = {row["recipe"]: row for row in read(results_csv(results))}
    assert len(rows) == len(results)
    for name in (
        "perplexity",
        "delta_nats",
        "kl_mean",
        "kl_mean_se",
        "bits_per_weight",
        "model_bytes",
    ):
        known = [p for p in results if getattr(p, name) is not None]
        assert all(float(rows[p.recipe][name]) == getattr(p, name) for p in known)
    assert rows["ternary"]["delta_nats_se"] == rows["float32"]["sqnr_db_min"] == ""
    assert {n for n, row in rows.items() if row["on_pareto_front"] == "1"} == {
        row.point.recipe for row in rank(results) if row.on_front
    }


def test_every_column_of_the_tables_is_a_field(results):
    """A new column is a field of ``PointResult`` with a ``Column``, and nothing else."""
    (row, *_) = read(results_csv(results))
    named = {"sqnr_db": "sqnr_db_median"}
    assert {named.get(field, field) for field in COLUMNS} <= set(row)
    assert "tokens_per_s" not in row and "wall_s" not in row


def test_infinite_numbers_are_written(results):
    wild = make_point("int2", 2.0, math.inf, None, perplexity=math.inf, kl_mean=math.nan)
    rows = {row["recipe"]: row for row in read(results_csv([*results, wild]))}
    assert (rows["int2"]["perplexity"], rows["int2"]["kl_mean"]) == ("inf", "nan")


def test_points_of_earlier_runs_are_marked(results):
    rows = read(results_csv(results[:3], results[3:5]))
    new = {row["recipe"] for row in rows if row["from_this_run"] == "1"}
    assert len(rows) == 5 and new == {p.recipe for p in results[:3]}


def test_layers_have_a_table_of_their_own(results):
    layers = read(sqnr_csv(results))
    assert len(layers) == sum(len(p.sqnr_db) for p in results)
    assert {row["recipe"] for row in layers} == {p.recipe for p in results if p.sqnr_db}
    assert read(sqnr_csv(results[:0])) == []


def test_both_tables_are_written(results, tmp_path):
    written = write_csv(results, tmp_path / "new" / "mine.csv")
    assert [path.name for path in written] == ["mine.csv", "sqnr.csv"]
    assert written[0].read_text(encoding="utf-8") == results_csv(results)
