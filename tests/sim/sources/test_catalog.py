import builtins
import re
import sys

import numpy as np
import pytest
from rich.console import Console

from sim.errors import UserError
from sim.sources import catalog, embedded, fetch, hub
from sim.sources.catalog import list_models, open_model
from sim.sources.known import KNOWN
from sim.sources.table import models_table

MINILM = "all-minilm-l6-v2"
SMOLLM = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def directory(tiny, tmp_path):
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    weights = tiny.raw_tensors(config, tiny.random_tensors(config))
    return tiny.write_directory(tmp_path / "mine", raw, weights)


def refused(spec, message):
    with pytest.raises(UserError, match="^" + message + "$"):
        open_model(spec)


def test_a_directory_is_opened(directory):
    assert open_model(str(directory)).name == "mine"


def test_a_gguf_file_is_opened(tiny, tmp_path):
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    stored = tiny.gguf_tensors("llama", config, tiny.random_tensors(config))
    path = tiny.write_gguf(tmp_path / "m.GGUF", "llama", raw, stored)
    assert open_model(str(path)).name == "m"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    refused(
        str(path),
        f"{path} is not a .gguf file; for safetensors give the directory that holds them together "
        "with config.json and tokenizer.json",
    )


@pytest.mark.parametrize("spec", ["x.gguf", "./x", "/nowhere/x"])
def test_what_looks_like_a_path_must_be_there(spec):
    refused(spec, f"no file or directory at {re.escape(spec)}")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("embeded", "; did you mean 'embedded'?"),
        ("smollm2", f"; did you mean '{SMOLLM}'?"),
        ("SmolLM2-135M", f"; did you mean '{SMOLLM}'?"),
        ("llama", ";"),
        ("", ";"),
    ],
)
def test_unknown_names_get_a_suggestion(spec, hint):
    refused(
        spec,
        re.escape(
            f"unknown model {spec!r}{hint} `qsim models` lists all; a directory, a .gguf file or a "
            "hub id is a model too"
        ),
    )


def test_a_known_model_that_is_not_fetched_says_how_to(cache):
    refused(SMOLLM, f"{SMOLLM} is not fetched yet; run: qsim models fetch {SMOLLM}")
    path = fetch.fetched_path(KNOWN[SMOLLM])
    assert path.is_relative_to(cache)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    refused(SMOLLM, f"{path} is damaged; run again: qsim models fetch {SMOLLM}")


def test_an_encoder_is_no_model_for_sweeps():
    message = r"^all-minilm-l6-v2 is an encoder: it predicts no next token whose likelihood a sweep"
    with pytest.raises(UserError, match=message):
        open_model(MINILM)


def test_the_list_has_a_state_for_every_model():
    rows = {row.id: row for row in list_models()}
    assert list(rows) == ["embedded", SMOLLM, MINILM]
    assert rows["embedded"].state == "embedded" and rows[SMOLLM].state == "known"
    path = fetch.fetched_path(KNOWN[SMOLLM])
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(KNOWN[SMOLLM].size_bytes)
    assert {row.id: row.state for row in list_models()}[SMOLLM] == "fetched"


def test_the_list_fits_a_terminal_of_80_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(models_table(list_models()))
    text = console.export_text()
    assert SMOLLM in text and "134.5 M  98.4 MB" in text and "--dither-source" in text
    assert max(map(len, text.splitlines())) <= 80


def with_embedded(monkeypatch, directory):
    (directory / "held_out.txt").write_text("The 11 theories\n")
    (directory / "calibration.txt").write_text("The 12 theories\n")
    (directory / "second.txt").write_text("The 13 theories\n")
    monkeypatch.setattr(embedded.resources, "files", lambda package: directory.parent)
    (directory.parent / "data").mkdir()
    directory.rename(directory.parent / "data" / "embedded")


def test_the_embedded_model_and_its_text_are_package_data(monkeypatch, directory):
    with_embedded(monkeypatch, directory)
    assert open_model("embedded").name == "embedded"
    text = embedded.held_out_text()
    assert (text.name, text.content) == ("built-in held-out text", "The 11 theories\n")
    row = list_models()[0]
    assert row.parameters == 2 * 264 * 64 + 2 * (2 * 64**2 + 2 * 32 * 64 + 3 * 96 * 64) + 5 * 64
    assert row.size_bytes > 4 * row.parameters


def test_an_installation_without_the_embedded_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded.resources, "files", lambda package: tmp_path)
    message = (
        "this installation of qsim lacks config.json, tokenizer.json, model.safetensors, "
        "held_out.txt, calibration.txt, second.txt of the embedded model; reinstall it, or give "
        "--model a directory or a .gguf file"
    )
    refused("embedded", message)
    assert list_models()[0].note == message[0].upper() + message[1:]


def test_a_hub_id_downloads_only_what_is_read(monkeypatch, directory):
    asked = {}

    def snapshot_download(model_id, *, allow_patterns):
        asked[model_id] = allow_patterns
        return str(directory)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    source = open_model("org/name")
    assert source.name == "org/name" and np.isfinite(source.read("final_norm.weight")).all()
    assert asked == {"org/name": list(hub.PATTERNS)}
    assert not any(pattern.endswith((".bin", ".pt", ".py", "*")) for pattern in hub.PATTERNS)


def test_a_hub_that_is_out_of_reach_is_one_line(monkeypatch):
    def snapshot_download(model_id, *, allow_patterns):
        raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    refused(
        "org/name",
        "'org/name' is not a file or directory here, and the hub can't provide it: it can't be "
        "reached; check the network, or give a local directory",
    )


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(
        "org/name",
        "'org/name' is not a file or directory here; to use it as a hub id, install the extra: pip "
        "install "
        r"'qsim-codesign\[hub\]'",
    )


def test_nothing_in_the_readers_can_load_a_pickle(directory, monkeypatch):
    imported = []
    original = builtins.__import__

    def spy(name, *args, **kwargs):
        imported.append(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", spy)
    source = open_model(str(directory))
    source.read("final_norm.weight")
    assert not {"pickle", "torch"} & set(imported)
    assert catalog.open_model is open_model
