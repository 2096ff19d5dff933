import math
import operator

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from sim.errors import UserError
from sim.model.families import config_from_hf, tensor_shapes
from sim.sources.gguf_file import WINDOW_NOTE, open_gguf
from sim.sources.hf_directory import open_directory

ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gpt2", "phi2")


def make(tiny, tmp_path, architecture="llama", extra=None, **options):
    """Write a tiny model; return the source, its weights and its Hugging Face configuration."""
    raw = tiny.CONFIGS[architecture] | (extra or {})
    config = config_from_hf(raw)
    tensors = tiny.random_tensors(config)
    stored = tiny.gguf_tensors(architecture, config, tensors)
    path = tiny.write_gguf(tmp_path / "m.gguf", architecture, raw, stored, **options)
    return open_gguf(path), tensors, raw


def without(*keys):
    """Return an edit that takes keys out of a file."""

    def edit(writer):
        for key in keys:
            writer.kv_data[0].pop(key, None)

    return edit


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_is_the_same_model_as_the_directory_it_was_converted_from(
    tiny, tmp_path, architecture
):
    source, tensors, raw = make(tiny, tmp_path, architecture)
    config = config_from_hf(raw)
    directory = tiny.write_directory(tmp_path / "hf", raw, tiny.raw_tensors(config, tensors))
    original = open_directory(directory)
    assert source.config == original.config
    offset = config.norm_weight_offset
    for name in tensor_shapes(config):
        # Adding Gemma's one and taking it away again rounds twice.
        tolerance = 2 * np.finfo(np.float32).eps * (np.abs(tensors[name]) + 1) if offset else 0
        assert (np.abs(source.read(name) - original.read(name)) <= tolerance).all(), name


def test_biases_of_q_and_k_are_put_in_order_too(tiny, tmp_path):
    source, tensors, _ = make(tiny, tmp_path, extra={"attention_bias": True})
    assert source.config.qkv_bias and source.config.attention_output_bias
    for name in (n for n in tensors if n.endswith("_proj.bias")):
        assert np.array_equal(source.read(name), tensors[name]), name


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_every_type_reads_as_the_library_dequantizes_it(tiny, tmp_path, kind):
    kind = Type[kind]
    source, tensors, _ = make(tiny, tmp_path, kind=kind)
    for name, tensor in tensors.items():
        expected = tensor
        if name.startswith("layers.") and tensor.ndim == 2:
            expected = gguf.quants.dequantize(gguf.quants.quantize(tensor, kind), kind)
        read = source.read(name)
        assert np.array_equal(read, expected), name
        assert read.dtype == np.float32 and read.flags.c_contiguous and read.flags.writeable


def test_our_header_says_what_the_librarys_reader_says(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, kind=Type.Q4_1)
    theirs = gguf.GGUFReader(source.path)
    assert len(theirs.tensors) == len(source.header.tensors)
    for tensor in theirs.tensors:
        ours = source.header.tensors[tensor.name]
        assert ours.offset == tensor.data_offset and ours.size == tensor.n_bytes
        assert ours.shape == tuple(tensor.shape.tolist()[::-1])
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert np.array_equal(source.header.metadata[key], field.contents()), key


def test_a_grid_step_is_the_distance_of_neighbouring_values(tiny, tmp_path):
    for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        source, _, _ = make(tiny, tmp_path, kind=Type[kind])
        name = "layers.1.self_attn.q_proj.weight"
        weights, steps = source.read(name), source.grid_step(name)
        codes = (weights - weights[:, :1]) / steps  # the first of a block is on the grid itself
        block = codes[:, :32]
        assert steps.shape == weights.shape
        assert np.abs(block - np.round(block)).max() < 2.0**-10
        assert np.round(block).max() > 0


def test_a_tied_head_is_one_that_is_not_stored(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, extra={"tie_word_embeddings": True})
    assert source.config.tie_embeddings and "lm_head.weight" not in source.pieces
    source, _, _ = make(tiny, tmp_path, extra={"tie_word_embeddings": False})
    assert not source.config.tie_embeddings


def test_stored_frequency_divisors_are_applied(tiny, tmp_path):
    factors = np.linspace(1, 8, 8, dtype=np.float32)
    source, _, _ = make(tiny, tmp_path, edit=lambda w: w.add_tensor("rope_freqs.weight", factors))
    assert source.config.rope.factors == tuple(factors.tolist())


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "phi2"])
def test_divisors_that_llama_cpp_does_not_read_are_refused(tiny, tmp_path, architecture):
    message = "PATH has tensors that a .* model does not use: rope_freqs.weight; .*"
    extra = {"rope_freqs.weight": np.ones(8, np.float32)}
    refused(tiny, tmp_path, message, architecture, change=lambda s: s | extra)


LINEAR, NONE, FACTOR = gguf.RopeScalingType.LINEAR, gguf.RopeScalingType.NONE, "rope.scaling.factor"


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        (None, {}, None),
        (LINEAR, {FACTOR: 4.0}, 4.0),
        (LINEAR, {}, None),
        (LINEAR, {FACTOR: 1.0}, None),
        (None, {FACTOR: 4.0}, 4.0),  # no type means linear
        (None, {"rope.scale_linear": 2.0}, 2.0),
        (None, {FACTOR: 2.0, "rope.scale_linear": 2.0}, 2.0),
        (None, {FACTOR: 4.0, "rope.scale_linear": 2.0}, 4.0),
        (None, {FACTOR: 0.0, "rope.scale_linear": 2.0}, None),  # a factor of 0 means no scaling
        (NONE, {FACTOR: 4.0}, None),
        (NONE, {"rope.scale_linear": 4.0}, None),
    ],
)
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_one_factor_divides_all_frequencies(tiny, tmp_path, architecture, kind, keys, expected):
    def edit(writer):
        if kind is not None:
            writer.add_rope_scaling_type(kind)
        for key, value in keys.items():
            writer.add_float32(f"{architecture}.{key}", value)

    source, _, raw = make(tiny, tmp_path, architecture, edit=edit)
    scaled = {"rope_scaling": {"rope_type": "linear", "factor": expected}} if expected else {}
    assert source.config == config_from_hf(raw | scaled)


@pytest.mark.parametrize("factor", [-1.0, np.inf, np.nan])
def test_a_factor_that_scales_nothing_sensible_is_refused(tiny, tmp_path, factor):
    message = f"PATH: llama.rope.scaling.factor must be finite and at least 0, not {factor}"
    refused(tiny, tmp_path, message, edit=lambda w: w.add_rope_scaling_factor(factor))


def test_a_factor_multiplies_stored_divisors(tiny, tmp_path):
    def edit(writer):
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_attn_factors(1.5)
        writer.add_tensor("rope_freqs.weight", np.full(8, 3, np.float32))

    rope = make(tiny, tmp_path, edit=edit)[0].config.rope
    assert rope.factors == (12.0,) * 8 and rope.attention_factor == 1.5


@pytest.mark.parametrize(("architecture", "kind"), [("phi3", None), ("llama", "longrope")])
def test_the_context_before_extension_is_the_models_by_default(tiny, tmp_path, architecture, kind):
    def edit(writer):
        if kind is not None:
            writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        for name, value in (("short", 1), ("long", 2)):
            writer.add_tensor(f"rope_factors_{name}.weight", np.full(8, value, np.float32))

    rope = make(tiny, tmp_path, architecture, edit=edit)[0].config.rope
    assert rope.original_max_positions == 128
    assert (rope.factors_for(128), rope.factors_for(129)) == ((1.0,) * 8, (2.0,) * 8)


#: Key without which a file is read: architecture, what the key would be without its default, and
#: the field that the default decides, as ``load_hparams`` of llama.cpp at 0c1e57098 has it.
DEFAULTS = [
    ("llama", "attention.head_count_kv", "kv_heads", 4),
    ("gpt2", "attention.head_count_kv", "kv_heads", 4),
    ("llama", "rope.freq_base", "rope.theta", 10000.0),
    ("qwen2", "rope.freq_base", "rope.theta", 10000.0),
    ("llama", "rope.dimension_count", "rope.dim", 16),
    ("qwen3", "rope.dimension_count", "rope.dim", 32),
    ("phi2", "rope.dimension_count", "rope.dim", 16),
    ("gemma2", "attn_logit_softcapping", "attention_softcap", 50.0),
    ("gemma2", "final_logit_softcapping", "final_softcap", 30.0),
    ("gemma2", "attention.sliding_window", "sliding_window", 4096),
    ("phi3", "attention.sliding_window", "sliding_window", None),
]


@pytest.mark.parametrize(("architecture", "key", "field", "expected"), DEFAULTS)
def test_absent_keys_have_the_defaults_of_llama_cpp(
    tiny, tmp_path, architecture, key, field, expected
):
    # All heads have their own keys, so that the tensors fit the default.
    extra = {"num_key_value_heads": 4} if "kv" in key and architecture != "gpt2" else {}
    edit = without(f"{architecture}.{key}")
    config = make(tiny, tmp_path, architecture, extra, edit=edit)[0].config
    assert operator.attrgetter(field)(config) == expected


@pytest.mark.parametrize(
    "key",
    [
        "context_length",
        "embedding_length",
        "block_count",
        "attention.layer_norm_rms_epsilon",
        "attention.head_count",
        "feed_forward_length",
    ],
)
def test_keys_without_a_default_are_required(tiny, tmp_path, key):
    rule = "a floating-point number" if "epsilon" in key else "one integer for the whole model"
    message = f"PATH: llama.{key} must be {rule}, not 'nothing'"
    refused(tiny, tmp_path, message, edit=without(f"llama.{key}"))


def test_heads_of_values_are_equal_parts_unless_said_otherwise(tiny, tmp_path):
    message = "PATH: keys and values must have heads of one size"
    refused(tiny, tmp_path, message, "qwen3", edit=without("qwen3.attention.value_length"))


@pytest.mark.parametrize(
    ("architecture", "biases"),
    [
        ("llama", ("attn_q", "attn_k", "attn_v")),
        ("llama", ("attn_output",)),
        ("llama", ("ffn_gate", "ffn_up", "ffn_down")),
        ("qwen2", ()),
        ("qwen2", ("attn_q", "attn_k", "attn_v", "output")),
        ("qwen3", ("attn_q", "attn_k", "attn_v")),
        ("gemma2", ("attn_q", "attn_k", "attn_v")),
        ("phi3", ("attn_qkv",)),
    ],
)
def test_a_file_has_the_biases_that_it_stores(tiny, tmp_path, architecture, biases):
    raw = tiny.CONFIGS[architecture]
    config = config_from_hf(raw)
    stored = tiny.gguf_tensors(architecture, config, tiny.random_tensors(config))
    stored = {name: t for name, t in stored.items() if not name.endswith(".bias")}
    for name in biases:
        places = ["output."] if name == "output" else [f"blk.{i}.{name}." for i in range(2)]
        for place in places:
            stored[f"{place}bias"] = np.full(len(stored[f"{place}weight"]), 0.5, np.float32)
    source = open_gguf(tiny.write_gguf(tmp_path / "m.gguf", architecture, raw, stored))
    found = [name for name in tensor_shapes(source.config) if name.endswith(".bias")]
    fused = 3 if biases == ("attn_qkv",) else 1
    assert len(found) == fused * sum(name.endswith(".bias") for name in stored)
    assert all((source.read(name) == 0.5).all() for name in found)


def test_one_value_for_each_layer_may_be_the_same_for_all(tiny, tmp_path):
    def edit(writer):
        del writer.kv_data[0]["llama.attention.head_count_kv"]
        writer.add_head_count_kv([2, 2])

    assert make(tiny, tmp_path, edit=edit)[0].config.kv_heads == 2


@pytest.mark.parametrize("pattern", [[True, True], 3, [False, True], 1])
def test_gemma_2_may_say_which_layers_have_a_window(tiny, tmp_path, pattern):
    def edit(writer):
        if isinstance(pattern, int):
            writer.add_uint32("gemma2.attention.sliding_window_pattern", pattern)
        else:
            writer.add_array("gemma2.attention.sliding_window_pattern", pattern)

    windowed = make(tiny, tmp_path, "gemma2", edit=edit)[0].config.windowed_layers
    expected = {3: (True, True), 1: (False, False)}
    assert windowed == (expected[pattern] if isinstance(pattern, int) else tuple(pattern))


def test_a_window_of_no_tokens_is_none(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, edit=lambda w: w.add_sliding_window(0))
    assert (source.config.family, source.config.sliding_window) == ("llama", None)


def test_phi3_takes_its_two_sets_of_divisors_from_tensors(tiny, tmp_path):
    short, long = np.linspace(1, 2, 8, dtype=np.float32), np.linspace(3, 4, 8, dtype=np.float32)

    def edit(writer):
        writer.add_rope_scaling_orig_ctx_len(64)
        writer.add_rope_scaling_attn_factors(1.25)
        writer.add_tensor("rope_factors_short.weight", short)
        writer.add_tensor("rope_factors_long.weight", long)

    source, _, _ = make(tiny, tmp_path, "phi3", edit=edit)
    rope = source.config.rope
    assert rope.factors_for(64) == tuple(short.tolist())
    assert rope.factors_for(65) == tuple(long.tolist())
    assert rope.attention_factor == 1.25


def test_a_partial_rotation_keeps_its_exact_size(tiny, tmp_path):
    source, _, raw = make(tiny, tmp_path, "phi2", extra={"partial_rotary_factor": 0.4})
    assert source.config.rope.dim == config_from_hf(raw).rope.dim == 6


def test_a_window_makes_a_llama_file_a_mistral(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, edit=lambda w: w.add_sliding_window(32))
    assert (source.config.family, source.config.sliding_window) == ("mistral", 32)
    assert source.notes == (WINDOW_NOTE,)


def test_the_source_types_and_the_note_print_themselves(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, kind=Type.Q4_1)
    assert source.source_types == {"Q4_1": 14, "F32": 7}
    assert source.name == "m, dequantized from Q4_1"
    (note,) = source.notes
    assert note == (
        "14 linear matrices of m, dequantized from Q4_1: their Q4_1 error is part of the float "
        "reference, so results are relative to an already quantized model. A format that contains "
        "the Q4_1 grid loses nothing on it, which is an artefact; check conclusions on integer "
        "formats with --dither-source."
    )


def test_float_files_need_no_note(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, kind=Type.F16)
    assert source.notes == () and source.name == "m"


def test_the_content_hash_follows_the_weights(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path)
    again = open_gguf(source.path)
    assert source.content_hash == again.content_hash and len(source.content_hash) == 64
    raw = bytearray(source.path.read_bytes())
    raw[-1] ^= 1
    source.path.write_bytes(raw)
    assert open_gguf(source.path).content_hash != again.content_hash


def refused(tiny, tmp_path, message, architecture="llama", edit=None, change=None, **options):
    """Check the full message about a model whose metadata or tensors are changed."""
    raw = tiny.CONFIGS["gpt2" if architecture == "opt" else architecture]
    config = config_from_hf(raw)
    table = "llama" if architecture == "opt" else architecture
    stored = tiny.gguf_tensors(table, config, tiny.random_tensors(config))
    stored = change(stored) if change else stored
    path = tmp_path / "m.gguf"
    if edit:
        options["edit"] = edit
    tiny.write_gguf(path, architecture, raw, stored, **options)
    with pytest.raises(UserError, match="^" + message.replace("PATH", str(path)) + "$"):
        open_gguf(path)


def test_unknown_architectures_are_refused_by_name(tiny, tmp_path):
    supported = "llama, qwen2, qwen3, phi3, gemma2, gpt2, phi2"
    message = f"PATH has the architecture 'opt'; supported are {supported}"
    refused(tiny, tmp_path, message, architecture="opt")


def test_missing_tensors_are_named(tiny, tmp_path):
    message = "PATH has no tensor blk.1.ffn_gate.weight, which its metadata calls for"
    refused(
        tiny,
        tmp_path,
        message,
        change=lambda s: {n: t for n, t in s.items() if n != "blk.1.ffn_gate.weight"},
    )


def test_left_over_tensors_are_named(tiny, tmp_path):
    message = (
        "PATH has tensors that a llama model does not use: blk.0.attn_q_norm.weight; the model "
        "would not compute what was trained"
    )
    extra = {"blk.0.attn_q_norm.weight": np.ones(16, np.float32)}
    refused(tiny, tmp_path, message, change=lambda s: s | extra)


def test_misshapen_tensors_are_named(tiny, tmp_path):
    message = (
        r"tensor blk.0.ffn_up.weight of PATH has shape \(64, 96\), but the metadata asks for "
        r"\(96, 64\)"
    )

    def change(stored):
        return stored | {"blk.0.ffn_up.weight": stored["blk.0.ffn_down.weight"]}

    refused(tiny, tmp_path, message, change=change)


def test_keys_that_may_change_the_mathematics_are_refused(tiny, tmp_path):
    message = (
        "PATH: metadata key llama.logit_scale is not supported; it may change what the model "
        "computes, so it can't be ignored"
    )
    refused(tiny, tmp_path, message, edit=lambda w: w.add_logit_scale(2.0))


def test_mixtures_of_experts_are_refused(tiny, tmp_path):
    message = (
        "PATH: metadata key llama.expert_count is not supported; it may change what the model "
        "computes, so it can't be ignored"
    )
    refused(tiny, tmp_path, message, edit=lambda w: w.add_expert_count(8))


def test_other_scalings_of_the_rotation_are_refused(tiny, tmp_path):
    message = "PATH: llama.rope.scaling.type must be one of none, linear, yarn, longrope, not 'ntk'"
    refused(tiny, tmp_path, message, edit=lambda w: w.add_string("llama.rope.scaling.type", "ntk"))


YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 32}


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({}, {}),
        ({"original_context_length": None}, {"original_max_position_embeddings": None}),
        ({"yarn_ext_factor": 1.0, "yarn_log_multiplier": 0.0}, {}),
        (
            {"yarn_beta_fast": 8.0, "yarn_beta_slow": 2.0},
            {"beta_fast": 8.0, "beta_slow": 2.0},
        ),
        ({"yarn_attn_factor": 1.5, "attn_factor": 7.0}, {"attention_factor": 1.5}),
        # llama.cpp multiplies the factor of the paper, 1 + 0.1 ln 4.
        ({"attn_factor": 2.0}, {"attention_factor": 2 * (0.1 * math.log(4.0) + 1.0)}),
        ({"factor": None}, {"factor": 1.0}),
    ],
)
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_yarn_is_that_of_config_json(tiny, tmp_path, architecture, more, fields):
    def edit(writer):
        for key, value in (YARN | more).items():
            if value is not None:
                add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
                add[type(value)](f"{architecture}.rope.scaling.{key}", value)

    source, _, raw = make(tiny, tmp_path, architecture, edit=edit)
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    assert source.config == config_from_hf(raw | {"rope_scaling": scaling | fields})
    assert source.config.rope.yarn is not None


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("yarn_ext_factor", 0.5, "1"), ("yarn_log_multiplier", 0.1, "0")]
)
def test_yarn_of_other_kinds_is_refused(tiny, tmp_path, key, value, rule):
    def edit(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_float32(f"llama.rope.scaling.{key}", value)

    shown = float(np.float32(value))
    message = f"PATH: llama.rope.scaling.{key} must be {rule}, not {shown}"
    refused(tiny, tmp_path, message, edit=edit)


def test_pieces_of_a_split_model_are_refused(tiny, tmp_path):
    message = "PATH is one of 3 pieces of a model; join them with llama.cpp's gguf-split --merge"
    refused(tiny, tmp_path, message, edit=lambda w: w.add_uint16("split.count", 3))


def test_adapters_are_refused(tiny, tmp_path):
    message = "PATH holds a GGUF adapter, not a model"
    refused(tiny, tmp_path, message, edit=lambda w: w.add_type("adapter"))


def test_types_without_a_dequantizer_are_refused(tiny, tmp_path):
    def change(stored):
        return stored | {"output_norm.weight": np.ones(64, np.int32)}

    message = (
        "PATH stores tensors as I32, which the gguf library can't dequantize; use a file of "
        "another type"
    )
    refused(tiny, tmp_path, message, change=change)


def test_values_that_are_not_finite_are_counted(tiny, tmp_path):
    source, tensors, raw = make(tiny, tmp_path)
    tensors["layers.1.mlp.down_proj.weight"][3, 5:8] = np.nan, np.inf, -np.inf
    stored = tiny.gguf_tensors("llama", source.config, tensors)
    source = open_gguf(tiny.write_gguf(tmp_path / "n.gguf", "llama", raw, stored))
    source.read("layers.0.mlp.down_proj.weight")
    message = (
        f"^tensor layers.1.mlp.down_proj.weight of {source.path} has 3 values that are NaN or "
        "infinite; weights must be finite, use an intact copy of the model$"
    )
    with pytest.raises(UserError, match=message):
        source.read("layers.1.mlp.down_proj.weight")


def test_large_finite_weights_are_not_taken_for_infinite_ones(tiny, tmp_path):
    source, tensors, raw = make(tiny, tmp_path)
    tensors["layers.0.attn_norm.weight"][:] = np.finfo(np.float32).max
    stored = tiny.gguf_tensors("llama", source.config, tensors)
    source = open_gguf(tiny.write_gguf(tmp_path / "n.gguf", "llama", raw, stored))
    assert (source.read("layers.0.attn_norm.weight") == np.finfo(np.float32).max).all()


def test_a_tensor_without_a_grid_has_no_steps(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path, kind=Type.F16)
    message = (
        f"^tensor blk.0.attn_q.weight of {source.path} is stored as F16, which is not a grid of "
        "equal steps; dithering needs Q4_0, Q4_1, Q5_0, Q5_1, Q8_0$"
    )
    with pytest.raises(UserError, match=message):
        source.grid_step("layers.0.self_attn.q_proj.weight")


def test_a_name_that_the_model_lacks_is_refused(tiny, tmp_path):
    source, _, _ = make(tiny, tmp_path)
    with pytest.raises(UserError, match=r"^m has no tensor layers\.9\.attn_norm\.weight$"):
        source.read("layers.9.attn_norm.weight")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=f"^no file at {tmp_path}/x.gguf$"):
        open_gguf(tmp_path / "x.gguf")
