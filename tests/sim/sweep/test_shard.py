"""Shards: every point in exactly one of them, and joined they are the whole sweep."""

import dataclasses

import pytest
from _helpers.observers import Quiet

from sim.errors import UserError
from sim.sources.catalog import open_model
from sim.sources.text import read_text
from sim.sweep import network
from sim.sweep.engine import Sweep
from sim.sweep.merge import FREE, merge
from sim.sweep.network import refuse_network
from sim.sweep.recipe_file import make_recipe
from sim.sweep.shard import Shard, parse_shard
from sim.sweep.store import point_key
from sim.sweep.windows import take_windows


class Silent(Quiet):
    """An observer that records the recipes that are measured."""

    def __init__(self):
        self.measured = []

    def point(self, *recipes):
        self.measured += recipes


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_key_is_in_exactly_one_shard(count):
    shards = [parse_shard(f"{i + 1}/{count}") for i in range(count)]
    keys = [point_key({"recipe": str(i)}) for i in range(60)]
    assert all(sum(shard.holds(key) for shard in shards) == 1 for key in keys)
    assert all(any(shard.holds(key) for key in keys) for shard in shards)


def test_the_shard_of_a_key_is_the_same_everywhere():
    assert [Shard(i, 4).holds("0" * 62 + "0e") for i in (1, 2, 3, 4)] == [False, False, True, False]


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.5/2"])
def test_what_is_no_shard_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"^--shard .*(give|shards count from 1)"):
        parse_shard(text)


def test_shards_joined_are_the_whole_sweep(tiny_model, text_file, tmp_path):
    source, text = open_model(str(tiny_model)), read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=128, context=32, spread=False)
    recipes = tuple(make_recipe(name) for name in ("int8:g64", "int4:g64", "ternary:g64"))
    whole = Sweep(
        source=source, text=text, windows=windows, recipes=recipes, directory=tmp_path / "whole"
    )
    expected = whole.run(Silent())
    parts, names = [], []
    for index in (1, 2):
        directory = tmp_path / str(index)
        log = Silent()
        part = dataclasses.replace(whole, directory=directory, shard=Shard(index, 2))
        parts.append([point.recipe for point in part.run(log)])
        names.append(directory)
        # The float32 model is the reference of each shard, and stored by one of them.
        assert log.measured == ["float32", *(name for name in parts[-1] if name != "float32")]
    assert all(parts)
    assert sorted([*parts[0], *parts[1]]) == sorted(point.recipe for point in expected)

    merged = merge(names, tmp_path / "merged")
    assert merged.outcome is not None and (merged.points, merged.stores) == (4, 2)
    points = {point.recipe: point for point in merged.outcome.results}
    assert next(iter(points)) == "float32"
    for point in expected:
        for field in {f.name for f in dataclasses.fields(point)} - FREE:
            assert getattr(points[point.recipe], field) == getattr(point, field)
    # The sweep finds all of its points in the joined store.
    log = Silent()
    dataclasses.replace(whole, directory=tmp_path / "merged").run(log)
    assert log.measured == []


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//box/share /mnt/my\\040share cifs rw 0 0
me@host: /data fuse.sshfs rw 0 0
tmpfs /data tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me/qsim-out", "nfs4 at /home"),
        ("/mnt/my share/out", "cifs at /mnt/my share"),
        ("/home/local/out", None),  # a local disk inside of a network file system
        ("/homes/out", None),  # begins with the same letters
        ("/data/out", None),  # a later mount hides the earlier
        ("/srv/out", None),
    ],
)
def test_a_network_file_system_is_refused(place, kind, tmp_path, monkeypatch):
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    monkeypatch.setattr(network, "MOUNTS", table)
    directory = network.Path(place)
    if kind is None:
        refuse_network(directory)
        return
    with pytest.raises(UserError, match=r"--shard 1/n") as refused:
        refuse_network(directory)
    assert f"--out {place} is on a network file system ({kind})" in str(refused.value)


def test_without_a_table_of_mounts_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "MOUNTS", tmp_path / "none")
    refuse_network(tmp_path)
