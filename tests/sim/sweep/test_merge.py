"""Joining of stores: what is equal, what is refused, and that a refusal writes nothing."""

import dataclasses
import math
import sqlite3

import pytest

from sim.cli.merge import merge as command
from sim.errors import UserError
from sim.sweep.merge import merge
from sim.sweep.result import PointResult, SecondResult
from sim.sweep.store import Store

POINT = PointResult(
    model="m",
    recipe="fp4",
    text="t",
    tokens=128,
    context=4,
    sampling="s",
    scored=96,
    vocab_size=256,
    perplexity=20.5,
    delta_nats=0.25,
    delta_nats_se=0.01,
    kl_mean=0.125,
    kl_mean_se=0.01,
    kl_p99=0.5,
    top1_agreement=0.9,
    bits_per_weight=4.125,
    weight_bytes=900,
    model_bytes=1000,
    definition="fp4_e2m1:g128:fp16",
    sqnr_db={"layers.0.mlp.up_proj": 19.2},
    tokens_per_s=1e4,
    wall_s=0.5,
    window_kl=(0.1, 0.15) * 16,
    window_delta_nats=(0.2, 0.3) * 16,
    provenance={"model_sha256": "0", "text_sha256": "1"},
)
FLOAT = dataclasses.replace(
    POINT, recipe="float32", definition="float32", kl_mean=0.0, delta_nats=0.0, sqnr_db={},
    window_kl=(0.0,) * 32, window_delta_nats=(0.0,) * 32, bits_per_weight=32.0,
)  # fmt: skip
SECOND = SecondResult(
    text="u", tokens=8, windows=2, kl_mean=0.2, kl_mean_se=None, delta_nats=0.1, delta_nats_se=None
)


def store(directory, points, sample="s"):
    directory.mkdir()
    kept = Store(directory / "results.sqlite")
    for key, point in points.items():
        kept.put(key, point, sample=sample)
    return directory


def test_speed_and_names_may_differ(tmp_path):
    a = store(tmp_path / "a", {"k": POINT})
    other = dataclasses.replace(POINT, tokens_per_s=5.0, wall_s=9.0, recipe="mine")
    b = store(tmp_path / "b", {"k": other, "l": FLOAT})
    assert merge([a, b], tmp_path / "out").points == 2
    assert Store(tmp_path / "out" / "results.sqlite").get("k") == POINT


def test_the_same_key_with_another_value_shows_both_and_writes_nothing(tmp_path):
    a = store(tmp_path / "a", {"k" * 64: POINT})
    wrong = dataclasses.replace(POINT, window_kl=(0.2,) * 32, kl_mean=0.2)
    b = store(tmp_path / "b", {"k" * 64: wrong})
    with pytest.raises(UserError) as refused:
        merge([a, b], tmp_path / "out")
    assert str(refused.value).startswith(
        f"point fp4 (key kkkkkkkkkkkk) has kl_mean 0.125 in {a} and 0.2 in {b}; 2 fields differ"
    )
    assert not (tmp_path / "out").exists()


def test_nan_equals_nan(tmp_path):
    point = dataclasses.replace(POINT, perplexity=math.nan)
    a, b = (store(tmp_path / name, {"k": point}) for name in "ab")
    assert merge([a, b], tmp_path / "out").points == 1


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_point_with_a_second_text_is_kept(tmp_path, order):
    store(tmp_path / "a", {"k": POINT})
    store(tmp_path / "b", {"k": dataclasses.replace(POINT, second=SECOND)})
    merge([tmp_path / name for name in order], tmp_path / "out")
    found = Store(tmp_path / "out" / "results.sqlite").get("k")
    assert found is not None and found.second == SECOND


def test_points_of_the_joined_store_stay(tmp_path):
    a = store(tmp_path / "a", {"k": POINT})
    out = store(tmp_path / "out", {"l": FLOAT})
    merge([a, out], out)
    merge([a, a], out)
    points = Store(out / "results.sqlite").all()
    assert [point.recipe for point in points] == ["float32", "fp4"]


def test_a_store_of_another_version_is_refused(tmp_path):
    a = store(tmp_path / "a", {"k": POINT})
    with sqlite3.connect(a / "results.sqlite") as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    with pytest.raises(UserError, match=r"store version 1, not 2\); leave it out$"):
        merge([a], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_directory_without_a_store_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no results.sqlite; give directories that qsim sweep"):
        merge([tmp_path], tmp_path / "out")


def test_several_samples_are_joined_without_a_report(tmp_path, capsys):
    a = store(tmp_path / "a", {"k": POINT})
    b = store(tmp_path / "b", {"l": FLOAT}, sample="other")
    command(a, b, out=tmp_path / "out")
    assert "No report" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.sqlite"]


def test_the_report_is_that_of_a_sweep(tmp_path, capsys):
    a = store(tmp_path / "a", {"k": POINT})
    b = store(tmp_path / "b", {"l": FLOAT})
    command(a, b, out=tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()
    assert "2 points of 2 stores" in capsys.readouterr().out
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(lines) == 3 and "fp4" in lines[-1] + lines[-2]


def test_nothing_to_join_is_refused():
    with pytest.raises(UserError, match=r"^qsim merge needs the directories"):
        command()
