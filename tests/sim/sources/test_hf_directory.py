import json
import re
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from sim.errors import UserError
from sim.model.families import config_from_hf, tensor_shapes
from sim.sources import hf_files
from sim.sources.hf_directory import open_directory

SUPPORTED = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gpt2", "phi2")


def make(tiny, path, family="llama", change=None, shards=1, **extra):
    """Write a tiny model; ``change`` edits its raw tensors. Return its path and its weights."""
    raw = tiny.CONFIGS[family] | extra
    config = config_from_hf(raw)
    tensors = tiny.random_tensors(config)
    stored = tiny.raw_tensors(config, tensors)
    tiny.write_directory(path, raw, change(stored) if change else stored, shards)
    return path, tensors


def refused(path, message):
    with pytest.raises(UserError, match="^" + message.replace("PATH", re.escape(str(path))) + "$"):
        open_directory(path)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("family", SUPPORTED)
def test_every_tensor_reads_as_written(tiny, tmp_path, family, shards):
    path, tensors = make(tiny, tmp_path, family, shards=shards)
    source = open_directory(path)
    assert set(tensors) == set(tensor_shapes(source.config))
    for name, tensor in tensors.items():
        read = source.read(name)
        assert np.array_equal(read, tensor), name
        assert read.dtype == np.float32 and read.flags.c_contiguous and read.flags.writeable


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_convert_exactly(tiny, tmp_path, dtype):
    path, tensors = make(
        tiny, tmp_path, change=lambda s: {n: t.astype(dtype) for n, t in s.items()}
    )
    source = open_directory(path)
    for name, tensor in tensors.items():
        assert np.array_equal(source.read(name), tensor.astype(dtype).astype(np.float32)), name


def test_the_source_describes_itself(tiny, tmp_path):
    source = open_directory(make(tiny, tmp_path / "mine")[0])
    assert (source.name, source.notes, source.source_types) == ("mine", (), {"F32": 21})


def test_the_content_hash_follows_weights_and_configuration(tiny, tmp_path):
    one = open_directory(make(tiny, tmp_path / "a")[0]).content_hash
    assert open_directory(make(tiny, tmp_path / "b")[0]).content_hash == one
    assert open_directory(make(tiny, tmp_path / "c", rope_theta=5e4)[0]).content_hash != one

    def change(stored):
        return stored | {"lm_head.weight": -stored["lm_head.weight"]}

    assert open_directory(make(tiny, tmp_path / "d", change=change)[0]).content_hash != one


def test_rotary_frequencies_and_causal_masks_are_passed_over(tiny, tmp_path):
    one = np.ones(8, np.float32)
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": one}
    open_directory(make(tiny, tmp_path / "a", change=lambda s: s | old)[0])
    masks = {"h.0.attn.bias": one, "transformer.h.1.attn.masked_bias": one}
    open_directory(make(tiny, tmp_path / "b", "gpt2", change=lambda s: s | masks)[0])


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("llama", "model.layers.0.attn.bias"),
        ("llama", "h.0.attn.bias"),
        ("gpt2", "transformer.h.0.self_attn.rotary_emb.inv_freq"),
    ],
)
def test_constants_of_one_family_are_weights_in_another(tiny, tmp_path, family, name):
    extra = {name: np.ones(8, np.float32)}
    path, _ = make(tiny, tmp_path, family, change=lambda s: s | extra)
    message = f"PATH has tensors that a {family} model does not use: {re.escape(name)}; .*"
    refused(path, message)


def tied(tiny, path, family="llama", change=None, dtype=np.float32, shards=1):
    """Write a tied model that stores its head a second time, ``change`` applied to the copy."""
    table = {"gpt2": "transformer.wte.weight"}.get(family, "model.embed_tokens.weight")

    def twice(stored):
        half = stored[table].astype(np.float16)
        copy = change(half.copy()) if change else half
        return stored | {table: half.astype(np.float32), "lm_head.weight": copy.astype(dtype)}

    return make(tiny, path, family, twice, shards, tie_word_embeddings=True)[0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_second_copy_of_a_tied_head_is_passed_over(tiny, tmp_path, family, dtype):
    source = open_directory(tied(tiny, tmp_path, family, dtype=dtype, shards=2))
    assert source.config.tie_embeddings


@pytest.mark.parametrize("rows", [1, 2**22])
def test_a_tied_head_that_differs_in_one_value_is_used(tiny, tmp_path, monkeypatch, rows):
    monkeypatch.setattr(hf_files, "COMPARED_VALUES", 64 * rows)

    def change(head):
        head[-1, -1] += 1
        return head

    source = open_directory(tied(tiny, tmp_path, change=change))
    assert not source.config.tie_embeddings
    head, table = source.read("lm_head.weight"), source.read("embed_tokens.weight")
    assert np.count_nonzero(head != table) == 1
    (note,) = source.notes
    assert note == (
        "tie_word_embeddings is true in config.json, but lm_head.weight differs from "
        "model.embed_tokens.weight: the stored head is used, as in transformers 5 (transformers 4 "
        "used the embedding)."
    )


def test_a_tied_model_may_store_its_table_as_the_head_alone(tiny, tmp_path):
    def change(stored):
        stored["lm_head.weight"] = stored.pop("model.embed_tokens.weight")
        return stored

    path, tensors = make(tiny, tmp_path, change=change, tie_word_embeddings=True)
    source = open_directory(path)
    assert source.config.tie_embeddings
    assert np.array_equal(source.read("embed_tokens.weight"), tensors["embed_tokens.weight"])


def test_a_tied_head_of_another_shape_or_type_is_refused(tiny, tmp_path):
    path = tied(tiny, tmp_path / "a", change=lambda head: head[:-1])
    refused(path, "tensor lm_head.weight of PATH has shape .*")
    path = tied(tiny, tmp_path / "b", dtype=np.int8)
    refused(path, "tensor lm_head.weight of PATH is stored as I8; .*")


@pytest.mark.parametrize("family", SUPPORTED)
def test_no_tensor_is_left_out_silently(tiny, tmp_path, family):
    config = config_from_hf(tiny.CONFIGS[family])
    raw = tiny.raw_tensors(config, tiny.random_tensors(config))
    bare = {n: n.removeprefix("model.").removeprefix("transformer.") for n in raw}
    others = {f"{n.rpartition('.')[0]}.scale" for n in raw} | {b for n, b in bare.items() if b != n}
    for index, name in enumerate(sorted(others)):
        extra = {name: np.ones(4, np.float32)}
        path, _ = make(tiny, tmp_path / str(index), family, change=lambda s, e=extra: s | e)
        refused(path, f".*does not use: {re.escape(name)}; .*")


def test_a_directory_with_an_adapter_is_refused(tiny, tmp_path):
    path, _ = make(tiny, tmp_path)
    (path / "adapter_config.json").write_text("{}")
    refused(
        path,
        r"PATH holds an adapter \(adapter_config.json\), which is not applied; merge it into the "
        r"model first \(merge_and_unload of the peft library\), or remove adapter_config.json",
    )


def test_a_left_over_weight_is_refused(tiny, tmp_path):
    extra = {"model.layers.0.self_attn.q_proj.bias": np.ones(64, np.float32)}
    path, _ = make(tiny, tmp_path, change=lambda s: s | extra)
    refused(
        path,
        "PATH has tensors that a llama model does not use: model.layers.0.self_attn.q_proj.bias; "
        "the model would not compute what was trained",
    )


def test_a_missing_tensor_is_named(tiny, tmp_path):
    path, _ = make(
        tiny, tmp_path, change=lambda s: {n: t for n, t in s.items() if n != "lm_head.weight"}
    )
    refused(path, "PATH has no tensor lm_head.weight, which its configuration needs")


def test_a_misshapen_tensor_is_named(tiny, tmp_path):
    path, _ = make(tiny, tmp_path, change=lambda s: s | {"lm_head.weight": s["lm_head.weight"].T})
    refused(
        path,
        r"tensor lm_head.weight of PATH has shape \(64, 264\), but the configuration asks for "
        r"\(264, 64\)",
    )


def test_integer_weights_are_refused(tiny, tmp_path):
    path, _ = make(
        tiny,
        tmp_path,
        change=lambda s: s | {"lm_head.weight": s["lm_head.weight"].astype(np.int8)},
    )
    refused(
        path,
        "tensor lm_head.weight of PATH is stored as I8; weights must be F32, F16, BF16, F64, so "
        "use the unquantized checkpoint",
    )


def test_a_configuration_of_more_layers_than_tensors_costs_no_time(tiny, tmp_path):
    path, _ = make(tiny, tmp_path)
    config = tiny.CONFIGS["llama"] | {"num_hidden_layers": 60000}
    (path / "config.json").write_text(json.dumps(config))
    refused(path, "PATH has 21 tensors, too few for 60000 layers")


def test_values_that_are_not_finite_are_counted(tiny, tmp_path):
    def change(stored):
        stored["model.norm.weight"][:3] = np.nan
        return stored

    source = open_directory(make(tiny, tmp_path, change=change)[0])
    message = (
        f"^tensor final_norm.weight of {tmp_path} has 3 values that are NaN or infinite; weights "
        "must be finite, use an intact copy of the model$"
    )
    with pytest.raises(UserError, match=message):
        source.read("final_norm.weight")


def test_a_float64_beyond_float32_is_not_finite(tiny, tmp_path):
    big = np.full(64, 1e300)
    source = open_directory(
        make(tiny, tmp_path, change=lambda s: s | {"model.norm.weight": big})[0]
    )
    with pytest.raises(UserError, match="has 64 values that are NaN or infinite"):
        source.read("final_norm.weight")


CONFIG_ERRORS = {
    "": r"PATH/config.json is not JSON: Expecting value: line 1 column 1 \(char 0\)",
    "[]": "PATH/config.json holds a JSON list, not an object",
    "[" * 10**5: "PATH/config.json is not JSON that can be read: it is nested too deeply",
    '{"model_type": "mamba"}': (
        'PATH/config.json: model_type "mamba" is not supported; supported are llama, mistral, '
        "qwen2, qwen3, phi3, gemma2, opt, gpt2, phi"
    ),
}


@pytest.mark.parametrize("text", list(CONFIG_ERRORS), ids=["empty", "list", "deep", "unknown"])
def test_a_bad_configuration_is_one_line(tiny, tmp_path, text):
    path, _ = make(tiny, tmp_path)
    (path / "config.json").write_text(text)
    refused(path, CONFIG_ERRORS[text])


def test_a_huge_or_binary_configuration_is_refused(tiny, tmp_path):
    path, _ = make(tiny, tmp_path)
    (path / "config.json").write_bytes(b" " * (2**20 + 1))
    refused(
        path, "PATH/config.json has 1048577 bytes, more than the 1048576 that such a file may have"
    )
    (path / "config.json").write_bytes(b"\x80")
    refused(path, "PATH/config.json is not UTF-8 text: invalid start byte at byte 0")


def test_an_empty_directory_lacks_a_configuration(tmp_path):
    refused(tmp_path, "no config.json in PATH")


def test_pickled_weights_are_not_looked_at(tiny, tmp_path):
    path, _ = make(tiny, tmp_path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    refused(
        path,
        "no model.safetensors nor model.safetensors.index.json in PATH; weights must be in "
        r"safetensors files, pickled ones \(.bin, .pt\) are never read",
    )


HEADER = b'{"model.norm.weight":{"dtype":"F32","shape":[64],"data_offsets":[0,256]}}'
CHANGES = {
    "cut short": (lambda raw: raw[:-1], "incomplete metadata, file not fully covered"),
    "too long": (lambda raw: raw + b"x", "incomplete metadata, file not fully covered"),
    "empty": (lambda raw: b"", "header too small"),
    "endless header": (lambda raw: b"\xff" * 8 + raw[8:], "header too large"),
    "header past the end": (lambda raw: b"\x00\x00\x01\x00" + raw[4:], "invalid header length"),
    "wrong shape": (
        lambda raw: raw.replace(b"[64]", b"[65]"),
        "invalid shape, data type, or offset for tensor",
    ),
    "hole": (
        lambda raw: raw.replace(b"[0,256]", b"[8,264]") + b"x" * 8,
        "invalid offset for tensor `model.norm.weight`",
    ),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_lying_header_is_refused(tiny, tmp_path, name):
    path, _ = make(tiny, tmp_path)
    change, reason = CHANGES[name]
    raw = len(HEADER).to_bytes(8, "little") + HEADER + bytes(256)
    (path / "model.safetensors").write_bytes(change(raw))
    refused(
        path,
        "PATH/model.safetensors is not a readable safetensors file: Error while deserializing "
        f"header: {reason}; it may be cut short or damaged",
    )


INDEX = "model.safetensors.index.json"


def write_index(path, weight_map):
    (path / INDEX).write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/x.safetensors", "a.bin", ".s"])
def test_shards_must_be_plain_names(tiny, tmp_path, shard):
    path, _ = make(tiny, tmp_path, shards=2)
    write_index(path, {"model.norm.weight": shard})
    refused(
        path,
        f"PATH/{INDEX} names the file {re.escape(repr(shard))}; shards must be plain names of "
        ".safetensors files in the same directory",
    )


def test_a_missing_shard_is_named(tiny, tmp_path):
    path, _ = make(tiny, tmp_path, shards=2)
    (path / "model-00002-of-00002.safetensors").unlink()
    refused(
        path,
        f"no model-00002-of-00002.safetensors in PATH, but {INDEX} names it; complete the download",
    )


def test_a_tensor_must_be_in_its_shard(tiny, tmp_path):
    path, _ = make(tiny, tmp_path, shards=2)
    write_index(path, {"nowhere": "model-00002-of-00002.safetensors"})
    refused(
        path,
        f"PATH/{INDEX} says that nowhere is in model-00002-of-00002.safetensors, "
        "but it is not there",
    )


@pytest.mark.parametrize("weight_map", [None, {}, []])
def test_an_index_without_a_map_is_refused(tiny, tmp_path, weight_map):
    path, _ = make(tiny, tmp_path, shards=2)
    write_index(path, weight_map)
    refused(path, f"PATH/{INDEX} has no weight_map of tensor names to files")


def test_shards_may_be_links_out_of_the_directory_as_in_the_hub_cache(tiny, tmp_path):
    path, _ = make(tiny, tmp_path / "model", shards=2)
    shard = path / "model-00001-of-00002.safetensors"
    shutil.move(shard, tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    assert open_directory(path).source_types == {"F32": 21}


def test_a_tensor_in_two_shards_is_refused(tiny, tmp_path):
    path, _ = make(tiny, tmp_path, shards=2)
    first = "model-00002-of-00002.safetensors"
    save_file({"model.norm.weight": np.ones(64, np.float32)}, path / "extra.safetensors")
    index = json.loads((path / INDEX).read_text())["weight_map"]
    assert "model.norm.weight" in index and first in index.values()
    write_index(path, index | {"model.norm.weight": "extra.safetensors"})
    refused(
        path, f"tensor model.norm.weight is in two files of PATH, {first} and extra.safetensors"
    )


def test_one_file_beside_shards_is_ambiguous(tiny, tmp_path):
    path, _ = make(tiny, tmp_path, shards=2)
    save_file({"model.norm.weight": np.ones(64, np.float32)}, path / "model.safetensors")
    refused(
        path,
        f"PATH has model.safetensors and also the files of {INDEX}, such as "
        "model-00001-of-00002.safetensors; keep the one or the others",
    )


def test_an_index_of_shards_that_are_gone_does_not_hide_the_one_file(tiny, tmp_path):
    path, _ = make(tiny, tmp_path)
    write_index(path, {"model.norm.weight": "model-00001-of-00002.safetensors"})
    assert open_directory(path).source_types == {"F32": 21}


def test_float_weights_have_no_grid(tiny, tmp_path):
    source = open_directory(make(tiny, tmp_path / "mine")[0])
    message = (
        "^the weights of mine are not on a quantization grid; dithering needs a GGUF file of type "
        "Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0$"
    )
    with pytest.raises(UserError, match=message):
        source.grid_step("layers.0.self_attn.q_proj.weight")
