import csv
import io

from sim.report import write_csv
from sim.report.pareto import best
from sim.report.records import results_csv, sqnr_csv


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers_have_full_precision(results):
    rows = {row["recipe"]: row for row in read(results_csv(results))}
    assert len(rows) == len(results)
    for name in ("perplexity", "delta_nats", "kl_mean", "bits_per_weight", "tokens_per_s"):
        assert all(float(rows[p.recipe][name]) == getattr(p, name) for p in results)
    assert rows["ternary"]["delta_nats_se"] == rows["float32"]["sqnr_db_min"] == ""
    assert {n for n, row in rows.items() if row["on_pareto_front"] == "1"} == {
        p.recipe for p in best(results)
    }


def test_layers_have_a_table_of_their_own(results):
    layers = read(sqnr_csv(results))
    assert len(layers) == sum(len(p.sqnr_db) for p in results)
    assert {row["recipe"] for row in layers} == {p.recipe for p in results if p.sqnr_db}
    assert read(sqnr_csv(results[:0])) == []


def test_both_tables_are_written(results, tmp_path):
    written = write_csv(results, tmp_path / "new" / "mine.csv")
    assert [path.name for path in written] == ["mine.csv", "sqnr.csv"]
    assert written[0].read_text(encoding="utf-8") == results_csv(results)
