import dataclasses
import json
import math
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from sim.errors import UserError
from sim.sweep.result import MEASURED, PointResult
from sim.sweep.store import Store, point_key

#: Numbers that cannot be infinite: fractions, sizes and times.
FINITE = {"top1_agreement", "bits_per_weight", "tokens_per_s", "wall_s"}


def result(recipe="fp4", perplexity=20.5, **other):
    point = PointResult(
        model="m",
        recipe=recipe,
        text="t",
        tokens=8,
        context=4,
        sampling="s",
        scored=6,
        vocab_size=256,
        perplexity=perplexity,
        delta_nats=0.25,
        delta_nats_se=None,
        kl_mean=0.1,
        kl_mean_se=None,
        kl_p99=1 / 3,
        top1_agreement=0.9,
        bits_per_weight=4.125,
        weight_bytes=900,
        model_bytes=1000,
        definition="fp4_e2m1:g128:fp16",
        sqnr_db={"layers.0.mlp.up_proj": 19.2},
        tokens_per_s=1e4,
        wall_s=0.5,
        window_kl=(0.05, 0.15),
        window_delta_nats=(0.2, 0.3),
        notes=("a note",),
        provenance={"model_sha256": "0"},
    )
    return dataclasses.replace(point, **other)


def test_a_point_comes_back_as_it_went_in(tmp_path):
    Store(tmp_path / "results.sqlite").put("k", result(), sample="s")
    assert Store(tmp_path / "results.sqlite").get("k") == result()
    assert Store(tmp_path / "results.sqlite").get("other") is None


def test_infinite_numbers_come_back_and_nan_too(tmp_path):
    wild = result(
        perplexity=math.inf,
        delta_nats=-math.inf,
        sqnr_db={"layers.0.mlp.up_proj": math.inf},
        window_kl=(0.5, math.inf),
    )
    store = Store(tmp_path / "results.sqlite")
    store.put("inf", wild, sample="s")
    store.put("nan", result(kl_mean=math.nan), sample="s")
    assert store.get("inf") == wild
    found = store.get("nan")
    assert found is not None and math.isnan(found.kl_mean)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_line_is_json_whatever_is_measured(number):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    line = result(perplexity=number, window_kl=(number, 1.0)).to_json()
    assert json.loads(line, parse_constant=refuse)["perplexity"] == str(number)


def test_every_measured_field_is_read_back_as_a_number():
    """Check that ``MEASURED`` has all float fields; others would be read back as strings."""
    floats = {f.name for f in dataclasses.fields(PointResult) if "float" in str(f.type)} - FINITE
    assert floats == MEASURED


def test_of_two_equal_keys_the_first_stays(tmp_path):
    store = Store(tmp_path / "results.sqlite")
    store.put("k", result(perplexity=1.0), sample="s")
    store.put("k", result(perplexity=2.0), sample="s")
    found = store.get("k")
    assert found is not None and found.perplexity == 1.0


def test_points_of_one_sample_are_found_in_the_order_of_their_making(tmp_path):
    store = Store(tmp_path / "results.sqlite")
    for key, sample in (("b", "s"), ("x", "other"), ("a", "s")):
        store.put(key, result(recipe=key), sample=sample)
    assert [p.recipe for p in store.fitting("s").values()] == ["b", "a"]
    assert store.fitting("none") == {}


def test_the_key_depends_on_every_part_and_not_on_their_order():
    assert point_key({"a": "1", "b": "2"}) == point_key({"b": "2", "a": "1"})
    assert point_key({"a": "1", "b": "2"}) != point_key({"a": "2", "b": "1"})


def put_many(path, first):
    store = Store(path)
    for i in range(first, first + 40):
        store.put(str(i), result(recipe=str(i)), sample="s")


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "results.sqlite"
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(put_many, [path] * 3, [0, 20, 40]))
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT COUNT(*) FROM points").fetchone() == (80,)
    db.close()


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at" * 30)
    before = path.read_bytes()
    with pytest.raises(
        UserError, match=r"^cannot use the results store .*: file is not a database$"
    ):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_of_another_version_is_refused(tmp_path):
    path = tmp_path / "results.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    message = (
        r"was written by another version of qsim \(store version 99, not 2\); give another --out$"
    )
    with pytest.raises(UserError, match=message):
        Store(path)


def test_a_store_that_a_full_disk_cannot_hold_leaves_no_file(tmp_path):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from pathlib import Path; from sim.sweep.store import Store\n"
        "Store(Path(sys.argv[1]))"
    )
    path = tmp_path / "results.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert "UserError: cannot use the results store" in done.stderr
    assert list(tmp_path.iterdir()) == []
