"""Passes that stop in the middle: they go on at the block where they stopped, with equal codes."""

import contextlib
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from _helpers.observers import Quiet

from sim.calibration import checkpoint as checkpoint_module
from sim.calibration.checkpoint import Checkpoint
from sim.calibration.spool import Spool, parse_bytes
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.quantized.writer import write_model
from sim.sources.catalog import open_model
from sim.sources.text import Text, read_text
from sim.sweep.engine import Sweep
from sim.sweep.recipe_file import make_recipe
from sim.sweep.windows import take_windows

RECIPE = make_recipe("int3:g32:asym", method="gptq(order=natural,clip=false,sweeps=0)")
TOKENS = np.random.default_rng(0).integers(0, 250, (8, 32)).astype(np.int32)
CALIBRATION = Calibration(text=Text(name="noise", content="", sha256=""), tokens=TOKENS)


class Interrupted:
    """A model that stops when a block is read, and counts what is read."""

    def __init__(self, source, stop=None):
        self.source, self.stop, self.read_names = source, stop, []

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, name):
        if self.stop is not None and name.startswith(self.stop):
            raise KeyboardInterrupt
        self.read_names.append(name)
        return self.source.read(name)

    def blocks(self):
        return {name.split(".")[1] for name in self.read_names if name.startswith("layers")}


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture
def keeps_every_block(monkeypatch):
    monkeypatch.setattr(checkpoint_module, "LEAST_S", 0.0)
    monkeypatch.setattr(checkpoint_module, "LEAST_RATIO", 0.0)


def test_quantizing_goes_on_at_the_block_where_it_stopped(source, tmp_path, keeps_every_block):
    whole = write_model(source, RECIPE, tmp_path / "whole", calibration=CALIBRATION)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_model(Interrupted(source, "layers.1."), RECIPE, out, calibration=CALIBRATION)
    assert not out.exists() and (tmp_path / ".out-unfinished" / "progress.json").exists()
    again = Interrupted(source)
    write_model(again, RECIPE, out, calibration=CALIBRATION)
    assert again.blocks() == {"1"}
    for file in whole.iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes(), file.name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


def test_another_recipe_starts_from_the_first_block(source, tmp_path, keeps_every_block):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_model(Interrupted(source, "layers.1."), RECIPE, out, calibration=CALIBRATION)
    again = Interrupted(source)
    write_model(again, make_recipe("int4:g32"), out)
    assert again.blocks() == {"0", "1"}


def test_a_sweep_goes_on_at_the_block_where_it_stopped(
    source, text_file, tmp_path, keeps_every_block, monkeypatch
):
    text = read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=128, context=32, spread=False)

    def sweep(model, place):
        return Sweep(
            source=model,
            text=text,
            windows=windows,
            recipes=(RECIPE,),
            directory=tmp_path / place,
            calibration=CALIBRATION,
        )

    whole = sweep(source, "whole").run(Quiet())
    interrupted = sweep(Interrupted(source), "out")
    key, measure = interrupted._key(RECIPE), Sweep._measure_one

    def stop_in_block_1(sweep, *arguments):
        sweep.source.stop = "layers.1."
        return measure(sweep, *arguments)

    monkeypatch.setattr(Sweep, "_measure_one", stop_in_block_1)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(Quiet())
    monkeypatch.setattr(Sweep, "_measure_one", measure)
    assert (tmp_path / "out" / f".unfinished-{key[:16]}" / "progress.json").exists()
    again = Interrupted(source)
    found = sweep(again, "out").run(Quiet())
    # The float model is the stored point's reference, so that only its blocks are read twice.
    assert again.read_names.count("layers.0.mlp.up_proj.weight") == 1
    assert again.read_names.count("layers.1.mlp.up_proj.weight") == 2
    assert found[1].kl_mean == whole[1].kl_mean and found[1].sqnr_db == whole[1].sqnr_db
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["results.sqlite"]


def test_a_damaged_or_foreign_checkpoint_is_not_used(tmp_path):
    place = tmp_path / "pass"
    with pytest.raises(RuntimeError), Checkpoint(place, "a") as first:
        first.save(3, {"x": np.ones(4, np.float32)}, {"note": 1})
        raise RuntimeError
    with pytest.raises(RuntimeError), Checkpoint(place, "a") as again:
        assert again.saved.blocks == 3 and again.saved.more == {"note": 1}
        assert (again.saved.states["x"] == 1).all()
        with Checkpoint(place, "a") as second:
            assert second.saved is None and not second.is_locked and not second.is_due
        raise RuntimeError
    (place / "x-3.npy").write_bytes(b"not an array")
    with Checkpoint(place, "a") as damaged:
        assert damaged.saved is None
    assert not place.exists()


def test_a_pass_does_not_go_on_in_files_that_another_one_wrote_over(tmp_path):
    place = tmp_path / "pass"
    with pytest.raises(RuntimeError), Checkpoint(place, "a") as first:
        first.save(3, {"x": np.ones(4, np.float32)}, {})
        raise RuntimeError
    with pytest.raises(RuntimeError), Checkpoint(place, "b") as other:
        assert other.saved is None
        raise RuntimeError
    with Checkpoint(place, "a") as again:
        assert again.saved is None


def test_states_beyond_the_budget_lie_on_disk(tmp_path):
    spool = Spool(1000.0, tmp_path)
    assert type(spool.empty((200,))) is np.ndarray
    assert isinstance(spool.empty((100,)), np.memmap)


@pytest.mark.parametrize("text", ["1KB", "511MB"])
def test_a_memory_below_that_of_the_process_is_refused(text):
    message = f"^--memory {text} is less than qsim takes without a model; give at least 512MB$"
    with pytest.raises(UserError, match=message):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["six", "0GB", "-1GB", "6XB", ""])
def test_a_memory_that_is_no_size_is_refused(text):
    with pytest.raises(UserError, match="is not a size; write 6GB or 512MB"):
        parse_bytes(text)


@pytest.mark.slow
def test_a_killed_process_loses_no_block_that_it_kept(source, tiny_model, tmp_path):
    script = f"""
import sys, time
from sim.calibration import checkpoint
from sim.quantized import packed_writer
checkpoint.LEAST_S = checkpoint.LEAST_RATIO = 0.0
blocks = packed_writer.quantized_blocks
def slow(*arguments, **options):
    for block in blocks(*arguments, **options):
        yield block
        print(block.index, flush=True)
        time.sleep(3600 if len(sys.argv) > 1 else 0)
packed_writer.quantized_blocks = slow
from pathlib import Path
from sim.sources.catalog import open_model
from sim.sweep.recipe_file import make_recipe
from sim.quantized.writer import write_model
model, place = open_model({str(tiny_model)!r}), Path({str(tmp_path)!r})
write_model(model, make_recipe("int4:g32"), place / "out")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, "sleep"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "0\n"
        process.kill()
    progress = json.loads((tmp_path / ".out-unfinished" / "progress.json").read_text())
    assert progress["blocks"] == 1
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n" and time.monotonic() - started < 300
    whole = write_model(source, make_recipe("int4:g32"), tmp_path / "whole")
    for file in whole.iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name


def test_what_is_made_once_outlives_an_interruption_of_the_same_pass(tmp_path):
    def kept(key, value):
        with contextlib.suppress(KeyboardInterrupt), Checkpoint(tmp_path / "c", key) as checkpoint:
            made = checkpoint.once("learned", lambda: {"a": np.full(2, value)})
            raise KeyboardInterrupt
        return made["a"].tolist()

    assert kept("one", 1.0) == kept("one", 2.0) == [1, 1]
    assert kept("other", 3.0) == [3, 3]
    assert kept("one", 4.0) == [1, 1]
    with Checkpoint(tmp_path / "c", "one"):
        pass
    assert kept("one", 5.0) == [5, 5]
